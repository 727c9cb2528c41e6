"""Before Hydra makes a folder: a run, or every job of a sweep, is read and checked."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from modules.callbacks.study import FILE, optuna_or_refuse
from modules.spec import UsageError
from pipelines.config.check import check
from pipelines.config.composing import (
    compose_run,
    compose_sweep,
    composing,
    multirun_settings,
    sweeper_space,
)
from pipelines.config.flags import COMPOSING, SWEEP
from pipelines.config.hints import refuse_bare_words, refuse_no_choice
from pipelines.config.plugins import refuse_endless, values_of, with_plugins
from pipelines.config.schema import read
from pipelines.config.space import points
from pipelines.console.output import quote_path
from pipelines.training.requeue import SLURM
from pipelines.training.resuming import CONTINUING, refuse_unsound

Job = tuple[DictConfig, Path]
OPTUNA = "hydra_plugins.recall_optuna.OptunaSweeper"


def preflight(words: Sequence[str], plugins: Sequence[str] | None = None) -> DictConfig | None:
    """Raise `UsageError` for what is wrong in the `words` of a command line; flags that are others' are left to Hydra.

    Returns Hydra's own settings of a sweep that is to begin.

    Of a sweeper that chooses values as it goes, the ends of what it may choose from are looked at, and each choice.
    The words may be those of a sweep of unknown origin: in `plugins` is then what the user lets them import.
    """
    refuse_endless(words)
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    overrides = [word for word in words if not word.startswith("-")]
    if "--config-dir" in flags or flags - {SWEEP} - COMPOSING:
        return None
    refuse_bare_words(overrides)
    with composing():
        hydra = multirun_settings(overrides) if SWEEP in flags else None
        jobs, chosen = composed(overrides, hydra)
    if flags & COMPOSING:
        return None
    refuse_no_choice(overrides)
    if plugins is not None:
        for cfg, run_dir in (*jobs, *chosen):
            with_plugins(values_of(cfg), run_dir, plugins)
    if hydra is not None:
        refuse_missing_queue(hydra.launcher)
    refuse_moving_folder([*jobs, *chosen], overrides, "hydra.sweep.dir" if SWEEP in flags else "hydra.run.dir")
    refuse_jobs(jobs)
    for cfg, run_dir in chosen:
        check(read(cfg), run_dir)
    if hydra is not None and hydra.sweeper._target_ == OPTUNA:
        refuse_study(*chosen[0])
    return hydra


def composed(overrides: Sequence[str], hydra: DictConfig | None) -> tuple[list[Job], list[Job]]:
    """Compose the run or the jobs of a sweep, and the points at which the space of another sweeper is looked at.

    `hydra` are the settings of the sweep, None for a run.
    """
    if hydra is None:
        return [compose_run(overrides)], []
    if (space := sweeper_space(overrides, hydra.sweeper)) is not None:
        return [], [compose_run(job, 0) for job in points(space)]
    return compose_sweep(overrides, hydra.sweeper), []


def refuse_missing_queue(launcher: DictConfig) -> None:
    """Raise `UsageError` if SLURM is to start the jobs, and is not here."""
    if launcher._target_ == SLURM and shutil.which("srun") is None:
        raise UsageError(
            "hydra/launcher=submitit_slurm: there is no srun here; start the sweep on a machine of a SLURM cluster, "
            "or say hydra/launcher=submitit_local"
        )


def refuse_jobs(jobs: Sequence[Job]) -> None:
    """Raise `UsageError` if one of several jobs cannot run, or would be in the folder of another."""
    first: dict[Path, int] = {}
    for number, (_, run_dir) in enumerate(jobs):
        if first.setdefault(run_dir, number) < number:
            raise UsageError(
                f"{run_dir}: jobs {first[run_dir]} and {number} of the sweep would both be there; let them differ"
            )
    for cfg, run_dir in jobs:
        refuse_unsound(cfg, run_dir)


def refuse_moving_folder(jobs: Sequence[Job], overrides: Sequence[str], setting: str) -> None:
    """Raise `UsageError` if runs are to be continued in a folder that has another name each time."""
    given = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith(f"{setting}=")]
    word = next((cfg.resume for cfg, _ in jobs if cfg.resume in CONTINUING), "")
    if word and (not given or "${now:" in given[-1]):
        raise UsageError(f"resume={word}: say in which folder, {setting}=…; the usual one has the time in its name")


def refuse_study(cfg: DictConfig, run_dir: Path) -> None:
    """Raise `UsageError` if Optuna is missing, or a study that is not to be continued is in the sweep's folder."""
    optuna_or_refuse()
    folder = run_dir.parent
    if cfg.resume == "never" and (folder / FILE).exists():
        raise UsageError(
            f"{folder}: a study is there already; continue it by `python -m pipelines.resume run={quote_path(folder)}` "
            "or choose another hydra.sweep.dir"
        )
