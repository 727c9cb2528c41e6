"""What the loop knows of intrinsic rewards: what learns, what rewards while acting, and the null object of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from modules.keys import Spaces
from modules.metrics import Metric
from modules.moments import RunningMoments
from modules.spec import Spec, spec
from modules.stateful import Stateful, Stateless


class IntrinsicReward(Stateful):
    """Rewards N environments for what is new in their steps.

    A reward belongs to the action that led to the observation (see docs/algorithms/ngu.md), so the first observation
    of an episode is only remembered. What is saved is what later episodes' rewards depend on; running ones are not. A
    bonus that remembers nothing of an episode, and has no statistics of its own, only has `reward` and `measures`.
    """

    def begin(self, which: Tensor, observation: Tensor) -> None:
        """Start episodes in the environments `which`, bool [N], at `observation` [N, *shape]."""

    def reward(self, observation: Tensor) -> Tensor:
        """Intrinsic reward [N] of arriving at `observation` [N, *shape]."""
        raise NotImplementedError

    def measures(self) -> dict[str, float]:
        """Mean reward and mean of its parts since the last call, under the names of the metrics table."""
        raise NotImplementedError

    def adopt(self, other: "IntrinsicReward") -> None:
        """Take over the running statistics of other environments' bonus."""

    def told(self) -> "Mapping[str, MeanAccumulator]":
        """What is measured here: where acting happens in other processes, it is sent from there."""
        return {}


class IntrinsicModel(Stateful):
    """The networks and statistics behind a bonus, all of which are saved; one that learns nothing has no `step`."""

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        """Learn from one batch of replayed rows; returns measures under the names of the metrics table."""
        return {}

    def acting(self, num_envs: int) -> IntrinsicReward:
        """Make the bonus of `num_envs` environments, which follows what is learned here."""
        raise NotImplementedError

    def networks(self) -> Sequence[nn.Module]:
        """Those that acting reads: where it happens in other processes, their weights are sent there."""
        return ()

    def moments(self) -> Mapping[str, RunningMoments]:
        """Running statistics that acting takes steps into: those of all processes are merged and sent to each."""
        return {}


@dataclass(frozen=True, kw_only=True)
class IntrinsicContext:
    """What an intrinsic reward may need.

    Attributes:
        spaces: of the run.
        device: where it is computed and learned.
    """

    spaces: Spaces
    device: torch.device


class IntrinsicSpec(Spec):
    """Settings of an intrinsic reward: `rewards`, whether there is one; `divides`, whether several processes act."""

    rewards: ClassVar[bool] = True
    divides: ClassVar[bool] = False  # whether networks, moments and told are all that processes must share
    metrics = (
        Metric("intrinsic/reward_mean", "intrinsic reward", "mean intrinsic reward of a step, before β weights it"),
    )

    def build(self, context: IntrinsicContext) -> IntrinsicModel:
        """Make networks and statistics."""
        raise NotImplementedError


@spec
class NoneSpec(IntrinsicSpec):
    """No intrinsic reward."""

    metrics = ()
    rewards = False
    divides = True

    def build(self, context: IntrinsicContext) -> "NoIntrinsicModel":
        return NoIntrinsicModel()


class MeanAccumulator:
    """Sums up rewards and their parts, and gives their means."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # [N], in float64: one sum over N at the end instead of one in each step
        self._count = 0

    def add(self, **values: Tensor) -> None:
        """Take in one step of N environments: [N] each, always under the same names."""
        for name, value in values.items():
            if name in self._sums:
                self._sums[name] += value
            else:
                self._sums[name] = value.to(torch.float64, copy=True)
        self._count += len(next(iter(values.values())))

    def means(self) -> dict[str, float]:
        """Means since the last call, as intrinsic/NAME_mean; nothing if there were no steps."""
        sums, count = self.take()
        return {f"intrinsic/{name}_mean": total.sum().item() / count for name, total in sums.items()}

    def take(self) -> tuple[dict[str, Tensor], int]:
        """Sums [N] and count since the last call."""
        found, self._sums, self._count = (self._sums, self._count), {}, 0
        return found

    def merge(self, taken: tuple[dict[str, Tensor], int]) -> None:
        """Add what another took of as many environments."""
        sums, count = taken
        self._sums = {name: self._sums.get(name, 0) + total for name, total in sums.items()} or self._sums
        self._count += count


class NoIntrinsicReward(Stateless, IntrinsicReward):
    """Is never asked for a reward."""

    def measures(self) -> dict[str, float]:
        return {}


class NoIntrinsicModel(Stateless, IntrinsicModel):
    """Learns nothing."""

    def acting(self, num_envs: int) -> NoIntrinsicReward:
        return NoIntrinsicReward()
