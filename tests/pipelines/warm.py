"""Imported by the process that all others are forked from: what a short run imports and what Hydra looks for, once.

Nothing here starts a thread: it would be missing in the forked processes, and whoever waits for it would hang.
"""

import importlib
import tempfile
import warnings
from pathlib import Path

import numpy as np

from modules import moments
from modules.intrinsic import compiled
from modules.plots.curve import learning_curve
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read

LATE = (  # imported only where they are used
    "PIL.BmpImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.PpmImagePlugin",
    "gymnasium.envs.classic_control",
    "hydra._internal.logging_config",
    "imageio_ffmpeg.binaries",
    "matplotlib.backends.backend_agg",
    "numba.np.arraymath",
    "modules.losses.retrace",
    "orjson",
    "pipelines.evaluate",
    "pipelines.export",
    "pipelines.play",
    "pygame.freetype",
    "pygame.gfxdraw",
    "scipy.linalg",
    "torch.utils.serialization",
    "torchrl.envs.libs.utils",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in LATE:
        importlib.import_module(name)
    for experiment in ("drqn_cartpole_masked", "agent57_corridor"):
        read(compose_settings((f"+exp={experiment}",))[0])

# What Numba compiled is loaded at the first call, which takes a second; the fonts of a picture, half of one.
singles, doubles, one = np.ones((1, 2), np.float32), np.ones(2), np.ones(1, np.int64)
compiled.nearest(singles, singles[None], one * 0, one, 1)
compiled.remember(singles, singles[None], one * 0, one)
compiled.rewards(singles, one * 0, doubles[:1], one, 1, (1.0, 1.0, 1.0, 1.0))
moments.merge(singles, doubles, doubles, 1)
moments.whiten(singles, doubles, doubles, 1.0)
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "metrics.csv").write_text("frames,eval/return_mean\n1,0\n2,1\n")
    learning_curve(Path(folder))
