"""Greedy evaluation: own environments, own random stream, the same number of episodes in each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type, step_mdp

from modules import keys

Look = Callable[[EnvBase], None]


def no_look(env: EnvBase) -> None:
    """Nobody watches."""
    del env


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns and lengths (env frames) of finished episodes."""

    returns: list[float]
    lengths: list[int]

    def metrics(self) -> dict[str, float]:
        """Summary under the names of the metrics table."""
        returns = np.asarray(self.returns)
        return {
            "eval/return_mean": float(returns.mean()),
            "eval/return_std": float(returns.std()),
            "eval/return_min": float(returns.min()),
            "eval/return_max": float(returns.max()),
            "eval/length_mean": float(np.mean(self.lengths)),
            "eval/episodes": len(self.returns),
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of one episode.

    Attributes:
        episode: number of the episode.
        number: of the step in it, from 0.
        observation: what the agent saw, [*shape]; images have their channels first.
        action: what it did.
        reward: what the environment gave for that.
        next_observation: what the agent saw then.
        terminated: whether the episode ended by what happened.
        truncated: whether it was cut off.
    """

    episode: int
    number: int
    observation: np.ndarray
    action: int
    reward: float
    next_observation: np.ndarray
    terminated: bool
    truncated: bool


class Callback:
    """Hooks into greedy episodes for an analysis of one's own; a subclass overrides those that it needs.

    Episodes run side by side, so calls for one stand between those for others; the number of an episode is the place
    of its return in `Episodes.returns`. Arrays are copies: what a callback does to them changes no episode.
    """

    def on_episode_begin(self, episode: int, observation: np.ndarray) -> None:
        """Episode number `episode` begins at `observation`, [*shape]."""

    def on_step_end(self, step: Step) -> None:
        """A step was made."""

    def on_episode_end(self, episode: int, episode_return: float, length: int) -> None:
        """Episode number `episode` has ended with an undiscounted return after `length` steps."""


class Announcer:
    """Tells callbacks of the episodes that count.

    Args:
        callbacks: whom to tell.
        quota: episodes that count of each environment, its first ones; numbered through, environment by environment.
    """

    def __init__(self, callbacks: Sequence[Callback], quota: np.ndarray) -> None:
        self._callbacks = callbacks
        self._episode = quota.cumsum() - quota  # of each environment, the running one
        self._end = quota.cumsum()

    def reset(self, first: TensorDictBase) -> None:
        """Every environment begins its first episode."""
        if self._callbacks:
            self._begin(first, np.flatnonzero(self._episode < self._end))

    def step(self, step: TensorDictBase, after: TensorDictBase) -> None:
        """The environments made `step` and stand, reset where it ended an episode, at `after`."""
        if not self._callbacks:
            return
        there, counted = after_of(step), np.flatnonzero(self._episode < self._end)
        for i in counted.tolist():
            made = self._of(step, i)
            for callback in self._callbacks:
                callback.on_step_end(made)
        ended = counted[np.asarray(there[keys.DONE].squeeze(-1))[counted]]
        for i in ended.tolist():
            episode_return, length = there[keys.EPISODE_RETURN][i].item(), int(there[keys.STEP_COUNT][i].item())
            for callback in self._callbacks:
                callback.on_episode_end(int(self._episode[i]), episode_return, length)
        self._episode[ended] += 1
        self._begin(after, ended[self._episode[ended] < self._end[ended]])

    def _begin(self, now: TensorDictBase, which: np.ndarray) -> None:
        for i in which.tolist():
            for callback in self._callbacks:
                callback.on_episode_begin(int(self._episode[i]), own(now, i))

    def _of(self, step: TensorDictBase, i: int) -> Step:
        there = after_of(step)
        return Step(
            episode=int(self._episode[i]),
            number=int(step[keys.STEP_COUNT][i].item()),
            observation=own(step, i),
            action=int(step[keys.ACTION][i].item()),
            reward=there[keys.REWARD][i].item(),
            next_observation=own(there, i),
            terminated=bool(there[keys.TERMINATED][i].item()),
            truncated=bool(there[keys.TRUNCATED][i].item()),
        )


def after_of(step: TensorDictBase) -> TensorDictBase:
    """What a step led to."""
    there = step.get("next")
    assert isinstance(there, TensorDictBase)
    return there


def own(td: TensorDictBase, i: int) -> np.ndarray:
    """Copy environment `i`'s observation, [*shape]."""
    return np.array(td[keys.OBSERVATION][i].numpy())


def run_episodes(
    env: EnvBase,
    policy: TensorDictModuleBase,
    *,
    episodes: int,
    seed: int,
    look: Look = no_look,
    callbacks: Sequence[Callback] = (),
    max_steps: int = 200_000,
) -> Episodes:
    """Run `episodes` greedy episodes.

    Each of the N environments contributes its first ⌈episodes / N⌉ or one fewer: taking whatever ends first
    would prefer short episodes.

    Args:
        env: N vectorised environments, not used for anything else.
        policy: greedy policy, reads and writes the recurrent state.
        episodes: how many in total.
        seed: of the environments; the policy must not draw.
        max_steps: longest episode that is waited for; one without end would look like a hang.
        look: called with the environments after the first reset and after each step, ends included, for pictures.
        callbacks: told of all that happens in the episodes that count.

    Raises:
        RuntimeError: an episode is longer than `max_steps`.
    """
    n = env.batch_size[0]
    quota = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    returns: list[list[float]] = [[] for _ in range(n)]
    lengths: list[list[int]] = [[] for _ in range(n)]
    announcer = Announcer(callbacks, quota)
    env.set_seed(seed)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        td = env.reset()
        look(env)
        announcer.reset(td)
        while any(len(r) < q for r, q in zip(returns, quota, strict=True)):
            step = env.step(policy(td))
            look(env)
            td = env.maybe_reset(step_mdp(step))
            done = step["next", keys.DONE].squeeze(-1)
            if (step["next", keys.STEP_COUNT] >= max_steps)[~done].any():
                raise RuntimeError(
                    f"an evaluation episode did not end within {max_steps} steps: give the environment a time limit"
                )
            for i in done.nonzero().squeeze(-1).tolist():
                returns[i].append(step["next", keys.EPISODE_RETURN][i].item())
                lengths[i].append(int(step["next", keys.STEP_COUNT][i].item()))
            announcer.step(step, td)
    first = [(r, k) for env_r, env_k, q in zip(returns, lengths, quota, strict=True)
             for r, k in list(zip(env_r, env_k, strict=True))[:q]]  # fmt: skip
    return Episodes(returns=[r for r, _ in first], lengths=[k for _, k in first])
