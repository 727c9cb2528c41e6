"""Film greedy episodes."""

from itertools import count
from pathlib import Path

from tensordict.nn import TensorDictModuleBase

from modules.evaluation import run_episodes
from modules.seeding import seed_for
from modules.video import Writer
from pipelines.around import Surroundings
from pipelines.schema import Run

FRAMES = 200  # at least; a single episode of the small worlds is over in a second or two


def film(run: Run, policy: TensorDictModuleBase, around: Surroundings, *, seed: int, path: Path) -> None:
    """Run whole greedy episodes until there are `FRAMES`, and write what the renderer shows to `path`."""
    env = around.build(1, video=True)
    try:
        with Writer(path, fps=run.env.video_fps()) as video:
            for episode in count():
                seed_of_it = seed_for(seed, "video", episode)
                run_episodes(env, policy, episodes=1, seed=seed_of_it, look=lambda e: video.add(run.env.picture(e)))
                if video.frames >= FRAMES:
                    break
    finally:
        env.close()
