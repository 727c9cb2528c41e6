"""Film one greedy episode."""

from pathlib import Path

import numpy as np
from tensordict.nn import TensorDictModuleBase

from modules import video
from modules.evaluation import run_episodes
from modules.seeding import seed_for
from pipelines.schema import Run


def film(run: Run, policy: TensorDictModuleBase, *, seed: int, path: Path) -> None:
    """Run one greedy episode in an environment of its own and write what its renderer shows to `path`."""
    env = run.env.build(1, run.network.primer(), video=True)
    frames: list[np.ndarray] = []
    run_episodes(
        env, policy, episodes=1, seed=seed_for(seed, "video"), look=lambda e: frames.append(run.env.picture(e))
    )
    env.close()
    video.write(path, frames)
