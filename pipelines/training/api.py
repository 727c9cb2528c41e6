"""Training, sweeps and reports from Python and notebooks; part of `pipelines.api`."""

import contextlib
import io
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gymnasium
from omegaconf import DictConfig, OmegaConf

from modules.callbacks import TrainingCallback
from modules.collect import leaving_cluster
from modules.loggers import in_notebook
from modules.spec import UsageError
from pipelines import report as reporting
from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_jobs, compose_settings
from pipelines.config.hints import to_hydra
from pipelines.config.plugins import read_yaml, values_of
from pipelines.config.schema import read
from pipelines.config.settings import folder
from pipelines.config.sweep_names import leave_out_fixed
from pipelines.config.sweep_words import write_words
from pipelines.console.caller import fork_rngs, refusing_os_errors
from pipelines.console.command import RunFailed
from pipelines.console.live_curve import LiveCurve
from pipelines.console.output import quote_path
from pipelines.reporting.result import Report, Result
from pipelines.resume import settings_of
from pipelines.training.preflight import refuse_jobs
from pipelines.training.resuming import CONTINUING, start_or_resume
from pipelines.training.resuming import resume as continued


@dataclass(frozen=True)
class Settings:
    """Checked settings of a run; a notebook shows them folded up.

    Attributes:
        words: of the command line that they were composed of.
        config: what came of them, to look at: `settings.config.optim.lr`; to change something, compose again.
    """

    words: tuple[str, ...]
    config: DictConfig

    def __str__(self) -> str:
        """Write all settings as YAML."""
        return OmegaConf.to_yaml(self.config, resolve=True)

    def _repr_html_(self) -> str:
        title = f"{self.config.name}: {self.config.total_frames:,} frames, seed {self.config.seed}"
        words = f"<code>{escape(' '.join(self.words))}</code>"
        every = f"<details><summary>all settings</summary><pre>{escape(str(self))}</pre></details>"
        return f"<p><b>{escape(title)}</b><br>{words}</p>{every}"


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
        bar: whether to draw a progress bar, in a terminal or a notebook, and there the learning curve.
        callbacks: that watch training, beside those of the settings (docs/callbacks.md).

    Raises:
        UsageError: a run is in the folder already, the replay does not fit its disk, or dry=true trains nothing.
        RunFailed: the run ended in an error; what could be saved is.
        KeyboardInterrupt: Ctrl-C, or a notebook's stop; all is saved, and `resume` continues.
    """
    if settings.config.dry:
        raise UsageError("dry=true trains nothing: compose has checked the settings already; leave it out to train")
    config, usual = compose_settings(settings.words)  # again, because the usual folder has the time in its name
    if run_dir is None and config.resume != "never":
        raise UsageError(
            f"resume={config.resume}: say in which folder, run_dir=…; the usual one has the time in its name"
        )
    place = (usual if run_dir is None else folder(run_dir, "run_dir")).absolute()
    with interruptible(place):
        start_or_resume(config, place, bar=bar, callbacks=[*callbacks, *live(bar)])
    return Result(place)


def resume(
    run_dir: str | Path,
    *words: str,
    env: Any = None,
    max_episode_steps: int | None = None,
    bar: bool = True,
    callbacks: Sequence[TrainingCallback] = (),
    plugins: Sequence[str] = (),
) -> Result:
    """Continue a run from its newest checkpoint, as `python -m pipelines.resume` does.

    Args:
        run_dir: of the run.
        words: what changes from now on: `resume("my_run", "total_frames=200_000")`.
        env: class, or function, that makes the environment, if nothing in this process has registered the run's id:
            of a notebook's cell that was not run again.
        max_episode_steps: with which `env` was registered.
        bar: as of `train`.
        callbacks: as of `train`; those of before are not kept with the run.
        plugins: as of `load`.

    Raises:
        UsageError: there is no such run, nothing is left to do, or a setting cannot be changed any more.
        RunFailed: the run ended in an error; what could be saved is.
        KeyboardInterrupt: as of `train`.
    """
    place = folder(run_dir, "run_dir").absolute()
    settings = settings_of([f"run={place}", f"plugins=[{','.join(plugins)}]", *words])
    if env is not None:
        register(place, env, max_episode_steps)
    with interruptible(place):
        continued(settings, bar=bar, callbacks=[*callbacks, *live(bar)])
    return Result(place)


def register(run_dir: Path, env: Any, max_episode_steps: int | None) -> None:
    """Let Gymnasium make `env` under the id that the run in `run_dir` names."""
    with refusing_os_errors():
        settings = values_of(read_yaml(run_dir / "config.yaml")).get("env")
    env_id = str(settings.get("id", "")) if isinstance(settings, dict) else ""
    if not env_id:
        raise UsageError(f"env: the environment of {run_dir} is Recall's own, and has no id")
    if (name := env_id.rpartition(":")[2]) not in gymnasium.registry:
        gymnasium.register(name, env, max_episode_steps=max_episode_steps)


@leaving_cluster()
def sweep(
    *words: str, sweep_dir: str | Path | None = None, bar: bool = True, plugins: Sequence[str] = ()
) -> list[Result]:
    """Train every combination, one after the other: `sweep("+exp=NAME", "network/memory=lstm,none", "seed=0,1,2")`.

    All are checked before the first begins. One that fails does not keep the others from training. What was interrupted
    is continued, and what never began begins, by `python -m pipelines.resume run=SWEEP`.

    Args:
        words: as after `python -m pipelines.train -m`, without flags; commas separate what varies.
        sweep_dir: folder above those of the runs, which are named by what varies; without it
            outputs/NAME/DATE_TIME in the current folder.
        bar: as of `train`, for each run.
        plugins: modules of your own that the runs import.

    Returns:
        What the runs left, in the order of the combinations.

    Raises:
        UsageError: a combination cannot work; nothing is trained.
        RunFailed: some of the runs ended in an error; says which, after all have ended.
        KeyboardInterrupt: as of `train`; the runs behind the one that it stopped have not begun.
    """
    more = [] if sweep_dir is None else [f"hydra.sweep.dir={Path(sweep_dir).absolute()}"]
    named = [f"plugins=[{','.join(plugins)}]"] if plugins else []
    words = (*words, *named, *more)
    with refusing_os_errors():
        jobs = [(config, place.absolute()) for config, place in compose_jobs(words)]
        word = next((config.resume for config, _ in jobs if config.resume in CONTINUING), "")
        if sweep_dir is None and word:
            raise UsageError(f"resume={word}: say in which folder, sweep_dir=…; the usual one has the time in its name")
        refuse_jobs(jobs)
        write_words(jobs[0][1].parent, leave_out_fixed(to_hydra(words)))
    failed = []
    for config, place in jobs:
        try:
            with interruptible(place):
                start_or_resume(config, place, bar=bar, callbacks=live(bar))
        except (RunFailed, UsageError) as error:
            failed.append(f"{place}: {error}")
    if failed:
        raise RunFailed(f"{len(failed)} of {len(jobs)} runs did not finish: {'; '.join(failed)}")
    return [Result(place) for _, place in jobs]


def report(
    *run_dirs: str | Path | Result,
    against: Sequence[str | Path | Result] = (),
    out: str | Path = "outputs/report",
    words: Sequence[str] = (),
) -> Report:
    """Compare runs over seeds, as `python -m pipelines.report` does.

    Args:
        run_dirs: runs, or folders above several.
        against: the runs to compare with.
        out: folder to write to.
        words: further ones of the command: `("--metric", "eval/length_mean")`.

    Raises:
        UsageError: the runs cannot be compared; nothing is written.
    """
    first, second = (
        [str(run.run_dir if isinstance(run, Result) else run) for run in side] for side in (run_dirs, against)
    )
    other = ["--against", *second] if second else []
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            reporting.main([*first, *other, "--out", str(out), *words])
    except SystemExit as ended:
        if isinstance(ended.__cause__, UsageError):
            raise ended.__cause__ from None
        raise UsageError(said.getvalue().strip()) from ended
    return Report(Path(out))


def live(bar: bool) -> list[TrainingCallback]:
    """Make what shows the learning curve, if this is a notebook and it is asked for."""
    return [LiveCurve()] if bar and in_notebook() else []


@contextmanager
def interruptible(run_dir: Path) -> Iterator[None]:
    """Train inside: random generators stay the caller's, and a stop from the keyboard is a `KeyboardInterrupt`."""
    with fork_rngs(), refusing_os_errors():
        try:
            yield
        except SystemExit as ended:
            if ended.code != 128 + signal.SIGINT:
                raise
            command = f"python -m pipelines.resume run={quote_path(run_dir)}"
            raise KeyboardInterrupt(f"continue by `{command}`") from ended
