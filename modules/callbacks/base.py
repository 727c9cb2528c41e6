"""What watches training without changing it: the hooks, what they are shown, and how several are told."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

from tensordict import TensorDictBase

from modules.errors import told
from modules.evaluation import Episodes
from modules.keys import GridMap
from modules.learner.learner import Learner
from modules.loggers.base import Logger
from modules.meta_controller import MetaController
from modules.metrics import Metric, place, refuse_undeclared
from modules.replay.base import Replay
from modules.spec import RunConfig, Spec, UsageError

Hook = Literal["on_start", "on_batch", "on_update", "on_evaluation", "on_row", "on_checkpoint", "on_end"]
STOPPING = "should_stop"  # in the state of all: the names of those that asked for the end
HOOKS = (*get_args(Hook), "measures", "measures_after", "draw")


class Training(Protocol):
    """What a callback sees of the run in progress; it must change none of it."""

    @property
    def frames(self) -> int:
        """Environment steps collected so far."""
        ...

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        ...

    @property
    def episodes(self) -> int:
        """Training episodes that ended so far."""
        ...

    @property
    def wall_s(self) -> float:
        """Seconds spent so far, over all sittings."""
        ...

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""
        ...

    @property
    def logger(self) -> Logger:
        """Where tables, pictures and films are shown."""
        ...

    def save_policy(self, path: Path) -> None:
        """Write what is evaluated at this moment, as `best.pt` has it."""
        ...

    def film(self, path: Path) -> None:
        """Film greedy episodes of what is evaluated at this moment."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a callback is made with: live parts of the run, to look at.

    Attributes:
        seed: of the run.
        n_arms: policies of the family; 1 without a family.
        grid: map of the environment, if it has one.
        stride: new steps of each row of the replay.
        learner: with the network that learns.
        replay: what was collected.
        evaluator: what chooses the arm of evaluations.
        intrinsic: means of the intrinsic rewards since the last call.
    """

    seed: int
    n_arms: int
    grid: GridMap | None
    stride: int
    learner: Learner
    replay: Replay
    evaluator: MetaController
    intrinsic: Callable[[], Mapping[str, float]]


class TrainingCallback:
    """Hears of training; each hook may be left out.

    An exception ends the run as one of an environment does, with everything saved and the callback's name.

    Attributes:
        metrics: that it may measure, if it is handed over from Python; else its spec declares them.
        should_stop: once true, the run ends early after the batch in hand, with its last evaluation.
        prunes: whether that gives the run up: its status is then `pruned`, and reports leave it out.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()
    prunes: ClassVar[bool] = False
    should_stop: bool = False

    def on_start(self, training: Training) -> None:
        """Hear that training begins or continues."""

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        """Hear of collected steps [N, T]; the replay has them."""

    def on_update(self, training: Training, measures: Mapping[str, Any]) -> None:
        """Hear of an optimiser step and what it measured."""

    def on_evaluation(self, training: Training, episodes: Episodes) -> None:
        """Hear of an evaluation's episodes."""

    def on_row(self, training: Training, metrics: Mapping[str, float]) -> None:
        """Hear that the row of a log event, of an evaluation too, is written."""

    def on_checkpoint(self, training: Training, path: Path) -> None:
        """Hear that a checkpoint is written."""

    def on_end(self, training: Training, status: str) -> None:
        """Hear that this sitting ends: finished, pruned, interrupted or failed; what can be saved is."""

    def measures(self, training: Training) -> Mapping[str, float]:
        """Say what was measured since the last call; asked at each log event, before its evaluation."""
        return {}

    def measures_after(self, training: Training) -> Mapping[str, float]:
        """Say what is measured after the evaluation of a log event, right before its row is written."""
        return {}

    def draw(self, training: Training) -> list[Path]:
        """Draw pictures, PNG files in the run's folder, at the end of the run; return them."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: tensors, numbers, text, lists and tables of these."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""


class CallbackSpec(Spec):
    """Settings of a callback; its `metrics` are what it may measure, `pictures` the files that it draws at the end.

    `reads_observations` says whether it needs those of each batch, which actors that cut rows do not send otherwise.
    """

    pictures: ClassVar[tuple[str, ...]] = ()
    reads_observations: ClassVar[bool] = False

    def applies(self, run: RunConfig) -> bool:
        """Tell whether there is anything to see in this `run`; if not, there is no callback and no column."""
        return True

    def build(self, context: Context) -> TrainingCallback:
        """Make the callback."""
        raise NotImplementedError


def overrides(callback: TrainingCallback, hook: str) -> bool:
    """Tell whether a callback has this hook of its own."""
    return getattr(type(callback), hook) is not getattr(TrainingCallback, hook)


class CallbackError(RuntimeError):
    """A callback went wrong; names it."""


class Callbacks:
    """Tells `callbacks`, under their names in the settings, in their order; `declared` are all metrics of the run."""

    def __init__(self, callbacks: Mapping[str, TrainingCallback], declared: Collection[str]) -> None:
        self._callbacks, self._declared = dict(callbacks), declared
        self._hearing = {  # most hear of few things, and updates are many
            hook: [(name, getattr(callback, hook)) for name, callback in callbacks.items() if overrides(callback, hook)]
            for hook in HOOKS
        }

    @property
    def should_stop(self) -> str:
        """Name of a callback that asks for the end; "" if there is none."""
        return next((name for name, callback in self._callbacks.items() if callback.should_stop), "")

    @property
    def pruned(self) -> bool:
        """Whether one of them has given the run up."""
        return any(callback.should_stop and callback.prunes for callback in self._callbacks.values())

    def tell(self, hook: Hook, *arguments: Any) -> None:
        """Call the `hook` of each, of the others too if one goes wrong; raise the first error then."""
        first: BaseException | None = None
        for name, call in self._hearing[hook]:
            try:
                with naming_callback(name):
                    call(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a signal to end, too: what is not told now is never told
                first = first or error
        if first is not None:
            raise first

    def ask(self, hook: Literal["measures", "measures_after"], training: Training) -> dict[str, float]:
        """Collect what each measures."""
        found: dict[str, float] = {}
        for name, call in self._hearing[hook]:
            with naming_callback(name):
                measures = call(training)
            refuse_undeclared(f"callbacks.{name}", measures, self._declared)
            found |= measures
        return found

    def draw(self, training: Training) -> list[Path]:
        """Let each draw its pictures."""
        found: list[Path] = []
        for name, call in self._hearing["draw"]:
            with naming_callback(name):
                found += call(training)
        return found

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, callback in self._callbacks.items():
            with naming_callback(name):
                found[name] = callback.state_dict()
        return found | {STOPPING: [name for name, callback in self._callbacks.items() if callback.should_stop]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; one that was not there then begins again."""
        for name, callback in self._callbacks.items():
            if name in state:
                with naming_callback(name):
                    callback.load_state_dict(state[name])
                callback.should_stop |= name in state.get(STOPPING, ())

    def missing(self, state: Mapping[str, Any]) -> list[str]:
        """Name those that have something in `state` and are not here."""
        return [name for name, kept in state.items() if kept and name not in self._callbacks and name != STOPPING]


def with_metrics_of(given: Sequence[TrainingCallback], declared: Mapping[str, Metric]) -> dict[str, Metric]:
    """Add what callbacks from Python declare, in the order of the tables.

    Raises:
        UsageError: another part of the run declares the same name in different words.
    """
    found = dict(declared)
    for callback in given:
        for metric in callback.metrics:
            if found.setdefault(metric.name, metric) != metric:
                raise UsageError(f"metric {metric.name}: {type(callback).__name__} declares another one of this name")
    return {name: found[name] for name in sorted(found, key=place)}


def named_by_class(callbacks: Sequence[TrainingCallback]) -> dict[str, TrainingCallback]:
    """Name each by its class, and by its place if there are several of one."""
    names = [type(callback).__name__ for callback in callbacks]
    return {
        name if names.count(name) == 1 else f"{name}{i}": callback
        for i, (name, callback) in enumerate(zip(names, callbacks, strict=True))
    }


@contextmanager
def naming_callback(name: str) -> Iterator[None]:
    """Let an error name the callback that it is of."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.strerror is None:  # of the network, perhaps
            raise CallbackError(f"callbacks.{name}: {told(error)}") from error
        raise OSError(error.errno, f"{error.strerror} (callbacks.{name})", error.filename) from error
    except Exception as error:
        raise CallbackError(f"callbacks.{name}: {told(error)}") from error
