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
from modules.envs.episode_tracker import tracker_of
from modules.metrics import SCORE, Metric

METRICS = (
    Metric(SCORE, "reward", "mean undiscounted return of the greedy evaluation: the score"),
    Metric("eval/return_std", "reward", "standard deviation of its returns"),
    Metric("eval/return_min", "reward", "lowest of its returns"),
    Metric("eval/return_max", "reward", "highest of its returns"),
    Metric("eval/length_mean", "frames", "mean length of its episodes"),
    Metric("eval/episodes", "count", "number of its episodes"),
)
Look = Callable[[EnvBase, TensorDictBase], None]
Watch = Callable[[int, int], None]


def no_look(env: EnvBase, seen: TensorDictBase) -> None:
    """Does nothing: nobody takes pictures."""


def no_watch(ended: int, episodes: int) -> None:
    """Does nothing: nobody waits for the evaluation."""


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns and lengths (env frames) of finished episodes."""

    returns: list[float]
    lengths: list[int]

    def metrics(self) -> dict[str, float]:
        """Summary under the names of the metrics table."""
        returns = np.asarray(self.returns)
        return {
            SCORE: float(returns.mean()),
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
        reward: what the environment gave for that, whatever `env.reward_scale` makes of it.
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


def quotas(episodes: int, num_envs: int) -> np.ndarray:
    """How many of the `episodes` that count each environment plays, [N]."""
    return episodes // num_envs + (np.arange(num_envs) < episodes % num_envs)


class Record:
    """Keeps how the `episodes` that count ended, and tells callbacks of them.

    Each of the N environments contributes its first ⌈episodes / N⌉ or one fewer: taking whatever ends first would
    prefer short episodes. They are numbered through, environment by environment.
    """

    def __init__(self, episodes: int, num_envs: int, callbacks: Sequence[Callback]) -> None:
        quota = quotas(episodes, num_envs)
        self._end = quota.cumsum()
        self._episode = self._end - quota  # of each environment, the running one
        self._counted = np.flatnonzero(quota)  # environments whose running episode counts
        self._callbacks = callbacks
        self._returns, self._lengths = [0.0] * episodes, [0] * episodes
        self.ended = 0  # of those that count

    @property
    def complete(self) -> bool:
        """Whether all episodes that count have ended."""
        return not self._counted.size

    def begin(self, now: TensorDictBase, which: np.ndarray | None = None) -> None:
        """The environments `which`, all by default, begin an episode at `now`."""
        which = self._counted if which is None else which
        for i in which.tolist() if self._callbacks else ():
            for callback in self._callbacks:
                callback.on_episode_begin(int(self._episode[i]), copy_of(now[keys.OBSERVATION], i))

    def step(self, step: TensorDictBase, paid: torch.Tensor) -> np.ndarray:
        """The environments made `step` and `paid` for it, [N, 1].

        Returns:
            Those which it took to the end of an episode, and that have another.
        """
        for i in self._counted.tolist() if self._callbacks else ():
            made = step_of(step, paid, i, int(self._episode[i]))
            for callback in self._callbacks:
                callback.on_step_end(made)
        ended = self._counted[np.asarray(step["next", keys.DONE].squeeze(-1))[self._counted]]
        for i in ended.tolist():
            episode, episode_return = int(self._episode[i]), step["next", keys.EPISODE_RETURN][i].item()
            self._returns[episode], self._lengths[episode] = episode_return, int(step["next", keys.STEP_COUNT][i])
            self.ended += 1
            for callback in self._callbacks:
                callback.on_episode_end(episode, episode_return, self._lengths[episode])
        self._episode[ended] += 1
        self._counted = np.flatnonzero(self._episode < self._end)
        return ended[self._episode[ended] < self._end[ended]]

    def episodes(self) -> Episodes:
        """Returns and lengths in the order of the episodes' numbers."""
        return Episodes(returns=self._returns, lengths=self._lengths)


def step_of(step: TensorDictBase, paid: torch.Tensor, i: int, episode: int) -> Step:
    """Copy environment `i`'s part of a step in episode number `episode`, for which the environments `paid`, [N, 1]."""
    return Step(
        episode=episode,
        number=int(step[keys.STEP_COUNT][i].item()),
        observation=copy_of(step[keys.OBSERVATION], i),
        action=int(step[keys.ACTION][i].item()),
        reward=paid[i].item(),
        next_observation=copy_of(step["next", keys.OBSERVATION], i),
        terminated=bool(step["next", keys.TERMINATED][i].item()),
        truncated=bool(step["next", keys.TRUNCATED][i].item()),
    )


def copy_of(observation: torch.Tensor, i: int) -> np.ndarray:
    """Copy environment `i`'s observation, [*shape]."""
    return np.array(observation[i].numpy())


def run_episodes(
    env: EnvBase,
    policy: TensorDictModuleBase,
    *,
    episodes: int,
    seed: int,
    look: Look = no_look,
    callbacks: Sequence[Callback] = (),
    watch: Watch = no_watch,
) -> Episodes:
    """Run `episodes` greedy episodes, of each environment the same number or one fewer.

    Args:
        env: N vectorised environments, not used for anything else.
        policy: greedy policy, reads and writes the recurrent state.
        episodes: how many in total.
        seed: of the environments' first resets, which begin the first episodes; the policy must not draw.
        look: called after the first reset and after each step, ends included, for pictures: with the environments, and
            what the reset or the step, with its `next`, has brought.
        callbacks: told of all that happens in the episodes that count.
        watch: called before each step with how many episodes have ended, of how many; what it raises ends all.
    """
    record, tracker = Record(episodes, env.batch_size[0], callbacks), tracker_of(env)
    env.set_seed(seed)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        td = env.reset()
        look(env, td)
        record.begin(td)
        while not record.complete:
            watch(record.ended, episodes)
            step = env.step(policy(td))
            look(env, step)
            again = record.step(step, tracker.paid)
            if not record.complete:  # else the reset would begin an episode that nobody plays
                td = env.maybe_reset(step_mdp(step))
                record.begin(td, again)
    return record.episodes()
