"""Film greedy episodes."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs import EnvBase

from modules import keys
from modules.evaluation import Watch, no_watch, run_episodes
from modules.losses.allowed import allowed_by
from modules.networks.tensordict_modules import Policy
from modules.plots.margin import Margin, Moment, enlarged
from modules.plots.video import Strip, Writer, gif_of
from modules.seeding import seed_for
from pipelines.agent.agent_env import AgentEnv
from pipelines.config.schema import RunConfig

log = logging.getLogger("recall")
FRAMES = 200  # at least; a single episode of the small worlds is over in a second or two


def film(policy: TensorDictModuleBase, agent_env: AgentEnv, *, seed: int, path: Path, watch: Watch = no_watch) -> None:
    """Run whole greedy episodes until there are `FRAMES`, and write what the renderer shows to `path`, and as a GIF.

    Beneath it stand step, return, seed and action, and the values by which this was chosen, if the agent has learned
    any. An intrinsic reward is drawn there too, if there is one; nobody else may ask that for its measures.
    What `watch` raises, asked before each step, ends the film, and `path` stays as it was.
    """
    run = agent_env.run
    fps = run.env.video_fps()  # first: it may make an environment, and there may not be room for one more
    env = agent_env.build(1, video=True)
    actions = run.env.actions or [str(action) for action in range(run.spaces.n_actions)]
    valued = isinstance(policy, Policy) and not run.loss.on_policy  # whose values would be logits
    margin = Margin(actions, seed=seed, bars=valued)
    try:
        with Writer(path, fps=fps) as video:
            camera = Camera(run, agent_env.intrinsic_reward.measures, margin, video.add)
            if isinstance(policy, Policy) and valued:
                policy = policy.telling(camera.see_values)
            for episode in count():
                seed_here = seed_for(seed, "video", episode)
                run_episodes(env, policy, episodes=1, seed=seed_here, look=camera.look, watch=watch)
                if video.frames >= FRAMES:
                    break
        try:
            gif_of(path, fps=fps)
        except OSError as error:  # the film itself is there
            log.warning("no GIF of %s: %s", path, error)
    finally:
        env.close()


class Camera:
    """Takes a picture of every moment; it is done once it is known what the agent does there.

    Args:
        run: whose environments are filmed.
        measures: gives those of the intrinsic reward, of the last step.
        margin: beneath the pictures.
        add: takes the frames [H, W, 3].
    """

    def __init__(
        self,
        run: RunConfig,
        measures: Callable[[], Mapping[str, float]],
        margin: Margin,
        add: Callable[[np.ndarray], object],
    ) -> None:
        self._run, self._measures, self._margin, self._add, self._strip = run, measures, margin, add, Strip()
        self._moment = Moment(episode=0, step=0, episode_return=0.0)
        self._picture = np.empty(0)
        self._values: np.ndarray | None = None

    def see_values(self, values: Tensor) -> None:
        """Keep the values [1, A] by which the next action is chosen."""
        allowed = values.masked_fill(~allowed_by(values), np.nan)
        self._values = allowed[0].float().cpu().numpy().copy()

    def look(self, env: EnvBase, seen: TensorDictBase) -> None:
        """See an episode's start, or a step of it."""
        if "next" not in seen:
            self._keep(env, Moment(episode=self._moment.episode + 1, step=0, episode_return=0.0))
            return
        self._finish(replace(self._moment, action=int(seen[keys.ACTION]), values=self._values))
        step, paid = int(seen["next", keys.STEP_COUNT]), float(seen["next", keys.EPISODE_RETURN])
        self._keep(env, replace(self._moment, step=step, episode_return=paid))
        if bool(seen["next", keys.DONE]):
            how = "ended" if bool(seen["next", keys.TERMINATED]) else "ran out of time"
            self._finish(replace(self._moment, over=f"episode {how}"))

    def _keep(self, env: EnvBase, moment: Moment) -> None:
        """Take the picture as it is now, and the bonus of the step that led to it."""
        picture = enlarged(self._run.env.picture(env))
        rewards = self._run.intrinsic.rewards
        self._picture = self._strip.under(picture, bonus_of(self._measures())) if rewards else picture
        self._moment = moment

    def _finish(self, moment: Moment) -> None:
        self._add(self._margin.under(self._picture, moment))


def bonus_of(step: Mapping[str, float]) -> dict[str, float]:
    """Name what to draw of a bonus's measures of one step: its two parts if it has them, else the reward itself."""
    parts = {"episodic": "intrinsic/episodic_mean", "lifelong": "intrinsic/alpha_mean"}
    found = {name: step[key] for name, key in parts.items() if key in step}
    reward = {"bonus": step["intrinsic/reward_mean"]} if step else {}
    return found if len(found) == len(parts) else reward
