"""What the loop knows of a collector, and what acts inside one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import nn
from torchrl.envs import EnvBase

from modules.spec import Positive, Spec, spec


class WorkerFailed(RuntimeError):  # noqa: N818 - it is the worker that failed
    """A collecting process died or met an error; says which one, and how."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Everything that acts in one process: environments, the policy, its network and its exploration.

    `anneal` sets the exploration to that of a frame count.
    """

    env: EnvBase
    policy: TensorDictModuleBase
    network: nn.Module
    anneal: Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class CollectorContext:
    """What a collector may need.

    Attributes:
        env: makes N environments for this process.
        policy: acts in them on `network`.
        network: to which the newest weights are pushed.
        actor: makes what acts in worker process w, given w; it is called there, so it must be picklable.
        template: makes one step [M] of M such environments, whatever M is.
    """

    env: Callable[[], EnvBase]
    policy: TensorDictModuleBase
    network: nn.Module
    actor: Callable[[int], Actor]
    template: Callable[[], TensorDictBase]


@spec
class CollectorSpec(Spec):
    """What every collector is asked for; `build` makes it.

    Attributes:
        num_envs: environments that step together, N.
        steps: steps of each environment in a batch, T.
    """

    num_envs: Positive
    steps: Positive

    def build(self, context: CollectorContext) -> "Collection":
        """Make the collector."""
        raise NotImplementedError

    @property
    def frames_per_batch(self) -> int:
        """Env frames in one batch."""
        return self.num_envs * self.steps

    @property
    def total_envs(self) -> int:
        """Environments in all."""
        return self.num_envs


class Collection:
    """Endless batches; whatever the order, those of one stream follow each other without a gap until a restart."""

    def batches(self, ends: Callable[[], bool]) -> Iterator[tuple[int, TensorDictBase]]:
        """Yield (stream, batch [N, T]); the environments of one stream are never those of another.

        Where there is anything to wait for, `ends` is asked every now and then whether to stop waiting: then there is
        no further batch.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[int, TensorDictBase]]:
        """Yield batches without end."""
        return self.batches(lambda: False)

    def push(self, frames: int) -> None:
        """Tell that the acting network has new weights, those of frame `frames`."""
        raise NotImplementedError

    def restart(self, seed: int) -> None:
        """Abandon the running episodes and start all environments from `seed`; nothing older is yielded any more."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the environments."""
        raise NotImplementedError
