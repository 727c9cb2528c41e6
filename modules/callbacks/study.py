"""A study of Optuna in the folder of a sweep."""

from pathlib import Path
from typing import Any

from modules.spec import UsageError

FILE, NAME = "study.db", "sweep"
FAILURES = "failures"  # of a trial's attributes: how often a run of it has failed


def optuna_or_refuse() -> Any:
    """Import Optuna; raises `UsageError` if it is not installed."""
    try:
        import optuna  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise UsageError(
            "hydra/sweeper=optuna needs Optuna: install with `pip install -c constraints.txt -e '.[optuna]'`"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def create_study(folder: Path, direction: str, seed: int) -> Any:
    """Open the study in `folder`, or begin it; its sampler draws otherwise in each sitting."""
    optuna = optuna_or_refuse()
    study = optuna.create_study(
        storage=f"sqlite:///{folder / FILE}", study_name=NAME, direction=direction, load_if_exists=True
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
    return study


def load_study(folder: Path) -> Any:
    """Open the study in `folder`; raises `UsageError` if there is none."""
    optuna = optuna_or_refuse()
    if not (folder / FILE).is_file():
        raise UsageError(f"{folder}: no study is there (it has no {FILE})")
    try:
        return optuna.load_study(storage=f"sqlite:///{folder / FILE}", study_name=NAME)
    except Exception as error:  # whatever SQLAlchemy says to a file that is no database of Optuna
        raise UsageError(f"{folder / FILE}: not readable as a study ({type(error).__name__})") from error
