"""The settings of logging."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from modules.loggers.base import Logger
from modules.loggers.csv import CsvLogger
from modules.loggers.many import NEEDED, ManyLoggers
from modules.metrics import Metric
from modules.spec import RunConfig, Spec, UsageError, spec

Sink = Literal["csv", "tensorboard", "wandb"]


def _distinct(to: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(to)) < len(to):
        raise ValueError("each of csv, tensorboard and wandb at most once")
    return to


@dataclass(frozen=True, kw_only=True)
class LoggerContext:
    """What a logger may need.

    Attributes:
        run_dir: the run's folder, which exists.
        config: the composed settings, as a reader is shown them.
        name: of the W&B run where `LoggerSpec.name` is null.
        group: of the W&B run where `LoggerSpec.group` is null.
        shared: the folder of `wandb/`, which the jobs of a sweep share; None: the run's own.
        frames: those of the checkpoint that the run resumes from; 0 for a new run.
        state: what `Logger.state()` gave at that checkpoint; None for a new run.
        metrics: that the run declares, in the order of their columns.
    """

    run_dir: Path
    config: Mapping[str, object]
    name: str
    group: str | None = None
    shared: Path | None = None
    frames: int = 0
    state: Mapping[str, str | int] | None = None
    metrics: Iterable[Metric] = ()


@spec
class LoggerSpec(Spec):
    """Where a run's numbers go.

    Attributes:
        to: the destinations; empty: nowhere.
        mode: of W&B; offline writes into `wandb/` of the run directory or of the sweep, disabled leaves W&B out.
        project: of W&B, which forbids some characters.
        group: of W&B; null: in a sweep what varies beside the seed, or the sweep's folder; else none.
        name: of W&B; null: the experiment, in a sweep what varies, and the seed.
        tags: of W&B.
    """

    to: Annotated[tuple[Sink, ...], AfterValidator(_distinct)]
    mode: Literal["offline", "online", "disabled"]
    project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")]
    group: str | None
    name: str | None
    tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...]

    def needs(self, run: RunConfig) -> Iterable[str]:
        del run
        return self.problems()

    def problems(self) -> Iterator[str]:
        """Say what stands against mode=online, so that a dry run tells it too."""
        if "wandb" in self.to and self.mode == "online":
            from modules.loggers.wandb import login_problem  # slow import

            if problem := login_problem():
                yield problem

    def build(self, context: LoggerContext) -> Logger:
        """Open the log of a run.

        Raises:
            UsageError: no W&B login (before anything is created); a log that exists or does not fit `state`.
            OSError: the CSV files cannot be written; what goes wrong with another destination leaves it out.
        """
        for problem in self.problems():
            raise UsageError(problem)
        destinations: dict[Sink, Callable[[], Logger]] = {
            "csv": lambda: csv(context),
            "tensorboard": lambda: tensorboard(context),
            "wandb": lambda: self._wandb(context),
        }
        loggers: dict[str, Logger] = {}
        failed: dict[str, Exception] = {}
        try:
            for sink in self.to:
                try:
                    loggers[sink] = destinations[sink]()
                except UsageError:
                    raise
                except Exception as error:
                    if sink == NEEDED:
                        raise
                    failed[sink] = error
        except BaseException:
            ManyLoggers(loggers, {}).finish({"status": "failed"})
            raise
        found = ManyLoggers(loggers, (context.state or {}) if failed else {})
        for sink, error in failed.items():
            found.leave_out(sink, error)
        return found

    def _wandb(self, context: LoggerContext) -> Logger:
        if self.mode == "disabled":
            return Logger()
        from modules.loggers.wandb import WandbLogger  # slow import

        return WandbLogger(context, self)


def csv(context: LoggerContext) -> Logger:
    """Open the CSV files."""
    return CsvLogger(context.run_dir, metrics=context.metrics, state=context.state, frames=context.frames)


def tensorboard(context: LoggerContext) -> Logger:
    """Open TensorBoard's log."""
    from modules.loggers.tensorboard import TensorboardLogger  # slow import

    return TensorboardLogger(context.run_dir, config=context.config, frames=context.frames)
