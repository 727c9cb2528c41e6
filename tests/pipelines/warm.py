"""Imported by the process that all others are forked from: what a short run imports and what Hydra looks for, once.

Nothing here starts a thread: it would be missing in the forked processes, and whoever waits for it would hang.
"""

import importlib
import warnings

from pipelines.command import configured
from pipelines.schema import read

LATE = (  # imported only where they are used
    "PIL.BmpImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.PpmImagePlugin",
    "gymnasium.envs.classic_control",
    "hydra._internal.logging_config",
    "imageio_ffmpeg.binaries",
    "matplotlib.backends.backend_agg",
    "modules.losses.retrace",
    "modules.plots.inline",
    "orjson",
    "pipelines.evaluate",
    "pipelines.export",
    "pipelines.play",
    "pygame.freetype",
    "pygame.gfxdraw",
    "torch.utils.serialization",
    "torchrl.envs.libs.utils",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in LATE:
        importlib.import_module(name)
    for experiment in ("drqn_cartpole_masked", "agent57_corridor"):
        read(configured((f"+exp={experiment}",))[0])
