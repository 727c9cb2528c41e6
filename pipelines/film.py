"""Film one greedy episode."""

from pathlib import Path

from tensordict.nn import TensorDictModuleBase

from modules.evaluation import run_episodes
from modules.seeding import seed_for
from modules.video import Writer
from pipelines.schema import Run


def film(run: Run, policy: TensorDictModuleBase, *, seed: int, path: Path) -> None:
    """Run one greedy episode in an environment of its own and write what its renderer shows to `path`."""
    env = run.env.build(1, run.network.primer(), video=True)
    try:
        with Writer(path) as video:
            run_episodes(
                env, policy, episodes=1, seed=seed_for(seed, "video"), look=lambda e: video.add(run.env.picture(e))
            )
    finally:
        env.close()
