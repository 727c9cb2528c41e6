"""Film greedy episodes."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase

from modules.evaluation import Watch, no_watch, run_episodes
from modules.plots.video import Strip, Writer
from modules.seeding import seed_for
from pipelines.agent.agent_env import AgentEnv

FRAMES = 200  # at least; a single episode of the small worlds is over in a second or two


def film(policy: TensorDictModuleBase, agent_env: AgentEnv, *, seed: int, path: Path, watch: Watch = no_watch) -> None:
    """Run whole greedy episodes until there are `FRAMES`, and write what the renderer shows to `path`.

    Beneath it an intrinsic reward is drawn, if there is one; nobody else may ask that for its measures.
    What `watch` raises, asked before each step, ends the film, and `path` stays as it was.
    """
    run = agent_env.run
    fps = run.env.video_fps()  # first: it may make an environment, and there may not be room for one more
    env, strip = agent_env.build(1, video=True), Strip()

    def look(env: EnvBase) -> None:
        frame = run.env.picture(env)
        video.add(
            strip.under(frame, bonus_of(agent_env.intrinsic_reward.measures())) if run.intrinsic.rewards else frame
        )

    try:
        with Writer(path, fps=fps) as video:
            for episode in count():
                run_episodes(env, policy, episodes=1, seed=seed_for(seed, "video", episode), look=look, watch=watch)
                if video.frames >= FRAMES:
                    break
    finally:
        env.close()


def bonus_of(step: Mapping[str, float]) -> dict[str, float]:
    """Name what to draw of a bonus's measures of one step: its two parts if it has them, else the reward itself."""
    parts = {"episodic": "intrinsic/episodic_mean", "lifelong": "intrinsic/alpha_mean"}
    found = {name: step[key] for name, key in parts.items() if key in step}
    reward = {"bonus": step["intrinsic/reward_mean"]} if step else {}
    return found if len(found) == len(parts) else reward
