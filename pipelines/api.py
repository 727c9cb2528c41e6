"""Recall from Python and notebooks: compose, train, look at a run, act with what it learned (docs/python.md)."""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from modules import seeding
from modules.callbacks import CallbackSpec, TrainingCallback
from modules.evaluation import Callback, Step
from modules.files import describe_error
from modules.metrics import Metric
from modules.plots.curve import curve_figure
from modules.plots.runs import Table, read_table
from modules.spec import UsageError
from pipelines.agent.held_out import DEFAULTS, Evaluation
from pipelines.agent.numpy_policy import NumpyPolicy
from pipelines.agent.trained_agent import PolicyName
from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from pipelines.config.settings import check_settings, folder
from pipelines.console.command import RunFailed
from pipelines.console.output import quote_path
from pipelines.evaluate import load_evaluated, run_evaluation
from pipelines.training.resuming import start_or_resume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Callback",
    "CallbackSpec",
    "Metric",
    "NumpyPolicy",
    "Result",
    "RunFailed",
    "Settings",
    "Step",
    "TrainingCallback",
    "UsageError",
    "compose",
    "evaluate",
    "load",
    "train",
]


@dataclass(frozen=True)
class Settings:
    """Checked settings of a run.

    Attributes:
        words: of the command line that they were composed of.
        config: what came of them, to look at: `settings.config.optim.lr`; to change something, compose again.
    """

    words: tuple[str, ...]
    config: DictConfig

    def __str__(self) -> str:
        """Write all settings as YAML."""
        return OmegaConf.to_yaml(self.config, resolve=True)


@dataclass(frozen=True)
class Result:
    """What a run left in its folder.

    Attributes:
        run_dir: the folder, of a run that has just ended or of any other.
    """

    run_dir: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json says: status, score, best_score, frames, …; raises `UsageError` if there is none."""
        path = Path(self.run_dir) / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: no summary of a run is there ({error})") from error

    @cached_property
    def metrics(self) -> Table:
        """The columns of metrics.csv, [rows] each, NaN where nothing was measured: `metrics["eval/return_mean"]`."""
        return read_table(Path(self.run_dir) / "metrics.csv")

    def plot(self) -> "Figure":
        """Draw the learning curve; a notebook shows the figure. Raises `UsageError` if nothing was measured yet."""
        figure = curve_figure(Path(self.run_dir))
        if figure is None:
            raise UsageError(f"{self.run_dir}: there is nothing to draw in metrics.csv")
        return figure


def compose(*words: str) -> Settings:
    """Compose and check settings: `compose("+exp=drqn_cartpole_masked", "seed=3")`.

    Args:
        words: as after `python -m pipelines.train`, except for sweeps and flags.

    Raises:
        UsageError: a setting that does not exist, is not allowed or does not fit the others.
    """
    config, _ = compose_settings(words)
    refuse_misfits(read(config))
    OmegaConf.set_readonly(config, True)
    return Settings(words, config)


def train(
    settings: Settings,
    *,
    run_dir: str | Path | None = None,
    bar: bool = True,
    callbacks: Sequence[TrainingCallback] = (),
) -> Result:
    """Train from beginning to end, as `python -m pipelines.train` does.

    Args:
        settings: of `compose`.
        run_dir: folder of the run, made if need be; without it outputs/NAME/DATE_TIME_seedN in the current folder.
        bar: whether to draw a progress bar, in a terminal or a notebook.
        callbacks: that watch training, beside those of the settings (docs/callbacks.md).

    Raises:
        UsageError: a run is in the folder already, the replay does not fit its disk, or dry=true trains nothing.
        RunFailed: the run ended in an error; what could be saved is.
        KeyboardInterrupt: Ctrl-C, or a notebook's stop; all is saved, and `python -m pipelines.resume` continues.
    """
    if settings.config.dry:
        raise UsageError("dry=true trains nothing: compose has checked the settings already; leave it out to train")
    config, usual = compose_settings(settings.words)  # again, because the usual folder has the time in its name
    place = (usual if run_dir is None else folder(run_dir, "run_dir")).absolute()
    with fork_rngs(), told():
        try:
            start_or_resume(config, place, bar=bar, callbacks=callbacks)
        except SystemExit as ended:
            if ended.code != 128 + signal.SIGINT:
                raise
            raise KeyboardInterrupt(f"continue by `python -m pipelines.resume run={quote_path(place)}`") from ended
    return Result(place)


def load(
    run_dir: str | Path, checkpoint: str = "best", *, arm: int | None = None, plugins: Sequence[str] = ()
) -> NumpyPolicy:
    """Make a callable of what a run has learned: `action = policy(observation)`, `policy.reset()` between episodes.

    Args:
        run_dir: of the run.
        checkpoint: `best`, the weights with the best evaluation during training, or `last`.
        arm: member of a family of policies; None takes the one that the run's own evaluations chose.
        plugins: modules of your own that the run imports; named here again, for the folder may not be yours.

    Raises:
        UsageError: there is no such run, checkpoint or arm.
    """
    with fork_rngs(), told():
        return NumpyPolicy(load_evaluated(evaluation(run_dir, checkpoint=checkpoint, arm=arm, plugins=tuple(plugins))))


def evaluate(
    run_dir: str | Path,
    *,
    episodes: int = 100,
    envs: int = 32,
    checkpoint: str = "best",
    arm: int | None = None,
    policy: PolicyName = "greedy",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[str] = (),
) -> dict[str, Any]:
    """Run episodes that training never saw, the same ones as `python -m pipelines.evaluate`; writes nothing.

    Args:
        run_dir: of the run.
        episodes: how many.
        envs: environments that step side by side, if there are as many episodes.
        checkpoint: `best` or `last`.
        arm: member of a family of policies; None takes the one that the run's own evaluations chose.
        policy: greedy, sampled as training explored at the checkpoint (with ε from all over its ladder), or random.
        seed: of the evaluation's own random stream.
        callbacks: told of every episode and step.
        plugins: as of `load`.

    Returns:
        What evaluation.json would say: mean, std, min, max, episodes, envs, length_mean, returns, …

    Raises:
        UsageError: there is no such run, checkpoint or arm.
    """
    given = {"episodes": episodes, "envs": envs, "checkpoint": checkpoint, "arm": arm, "policy": policy, "seed": seed}
    settings = evaluation(run_dir, **given, plugins=tuple(plugins))
    with fork_rngs():
        with told():
            agent = load_evaluated(settings)
        return run_evaluation(settings, agent, callbacks)


def evaluation(run_dir: str | Path, **given: Any) -> Evaluation:
    """Make the settings of an evaluation of what is `given` and the command's defaults."""
    return check_settings(Evaluation, {**DEFAULTS, "run": folder(run_dir, "run_dir"), **given})


@contextmanager
def told() -> Iterator[None]:
    """Make a `UsageError` of what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise UsageError(describe_error(error)) from error


@contextmanager
def fork_rngs() -> Iterator[None]:
    """Leave the global random generators and PyTorch's number of threads to the caller as they were."""
    threads = torch.get_num_threads()
    with seeding.fork_rngs():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
