"""What the loop knows of a collector, and what acts inside one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import nn
from torchrl.envs import EnvBase

from modules.replay.cut_rows import CutRows
from modules.spec import Positive, Spec, spec
from modules.stateful import HasState, Stateful


class WorkerFailed(RuntimeError):  # noqa: N818 - it is the worker that failed
    """A collecting process died or met an error; says which one, and how."""


class Told(Protocol):
    """Statistics that an actor collects and sends to the main process."""

    def take(self) -> Any:
        """What came since the last call."""
        ...

    def merge(self, taken: Any, /) -> None:
        """Add what another took."""
        ...


class Cutter(Protocol):
    """What turns an actor's batches into rows of the replay."""

    def push(self, batch: TensorDictBase) -> TensorDict:
        """Take in a batch [N, T]; return the rows that it completed, [R], with a first priority if rows have any."""
        ...


class Collected(NamedTuple):
    """A batch of steps.

    Attributes:
        stream: whose batches follow each other without a gap; its environments are those of no other.
        batch: [N, T]. Where the actor has cut rows, only those entries of it that are a number, and what else is asked
            for.
        rows: that it completes, [R], if the actor has cut them.
    """

    stream: int
    batch: TensorDictBase
    rows: CutRows | None = None


@dataclass(frozen=True, kw_only=True)
class Actor(Stateful):
    """Everything that acts together, wherever it runs: environments and what is around them.

    Attributes:
        env: makes the environments, with their transforms.
        policy: acts in them.
        networks: that acting reads and the learner changes: the policy's, and those behind an intrinsic reward.
        anneal: sets the exploration to that of a frame count.
        kept: what of it a checkpoint keeps.
        moments: running statistics that acting takes steps into; those of all actors are merged, and sent to each.
        told: what else is merged in the main process.
        cutter: makes what cuts its batches into rows, if the learner is not to.
    """

    env: Callable[[], EnvBase]
    policy: TensorDictModuleBase
    networks: Sequence[nn.Module]
    anneal: Callable[[int], object]
    kept: Mapping[str, HasState] = field(default_factory=dict)
    moments: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)
    cutter: Callable[[], Cutter] | None = None

    def parts(self) -> Mapping[str, HasState]:
        return self.kept

    @property
    def reports(self) -> dict[str, Told]:
        """All that it tells, under names of their own."""
        return {**{f"moments/{name}": part for name, part in self.moments.items()}, **self.told}


@dataclass(frozen=True, kw_only=True)
class CollectorContext:
    """What a collector may need.

    Attributes:
        actor: of the main process. It acts there, or hears what the others report and stands for the first of them.
        make: makes the actor of worker process w, given w; it is called there, so it must be picklable.
        template: makes one step [M] of M such environments, whatever M is, with what batches are to have.
    """

    actor: Actor
    make: Callable[[int], Actor]
    template: Callable[[], TensorDictBase]


@spec
class CollectorSpec(Spec):
    """What every collector is asked for; `build` makes it.

    Attributes:
        num_envs: environments that step together, N.
        steps: steps of each environment in a batch, T.
    """

    on_cluster: ClassVar[bool] = False  # of Ray, to which `refuse_unreachable` connects

    num_envs: Positive
    steps: Positive

    def build(self, context: CollectorContext) -> "Collection":
        """Make the collector."""
        raise NotImplementedError

    def refuse_unreachable(self) -> None:
        """Raise `UsageError` if machines that it needs beside this one are not there."""

    @property
    def actors_cut(self) -> bool:
        """Whether actors cut rows, and the learner does not."""
        return False

    @property
    def frames_per_batch(self) -> int:
        """Env frames in one batch."""
        return self.num_envs * self.steps

    @property
    def total_envs(self) -> int:
        """Environments in all."""
        return self.num_envs

    @property
    def envs_here(self) -> int:
        """Environments on this machine; where all are on others, those of the actor that stands here for them."""
        return self.total_envs

    @property
    def pushes_per_frame(self) -> float:
        """How often weights go to other processes."""
        return 0.0

    @property
    def burst(self) -> int:
        """Most rows that a batch may complete, or that the end of all running episodes may."""
        return max(self.frames_per_batch, self.total_envs)


class Collection:
    """Endless batches; whatever the order, those of a stream follow each other without a gap until a restart.

    Attributes:
        exact: whether the same run always collects the same. Then each save starts the environments afresh, so that
            a resumed run does not differ from one that was never interrupted; elsewhere episodes go on.
    """

    exact = True

    def batches(self, ends: Callable[[], bool]) -> Iterator[Collected]:
        """Yield what was collected.

        Where there is anything to wait for, `ends` is asked every now and then whether to stop waiting: then there is
        no further batch.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Collected]:
        """Yield batches without end."""
        return self.batches(lambda: False)

    def push(self, frames: int) -> None:
        """Tell that the acting network has new weights, those of frame `frames`."""
        raise NotImplementedError

    def restart(self, seed: int) -> None:
        """Abandon the running episodes and start all environments from `seed`; nothing older is yielded any more.

        What actors keep is then what `state_dict` had after the last batch that was yielded.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What each actor keeps, as of the last batch of it that was yielded."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned, for the next restart; actors that it does not have begin anew."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the environments."""
        raise NotImplementedError
