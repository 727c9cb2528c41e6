"""The words that a sweep was started with, off its folder, to start it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.config.plugins import read_yaml
from pipelines.config.sweep_names import EXCLUDE, MULTIRUN

# What is taken of Hydra's own settings. Who starts the jobs is said anew: such a word may name a command of the shell.
KEPT = (f"{EXCLUDE}=", "hydra.sweep.subdir=", "hydra/sweeper=basic", "hydra/sweeper=optuna", "hydra.sweeper.")
NAMES_CODE = ("_target_", "custom_search_space")


def is_sweep(folder: Path) -> bool:
    """Tell whether this is the folder of a sweep."""
    return (folder / MULTIRUN).is_file()


def words_of(folder: Path) -> list[str]:
    """Read the words that continue every job of the sweep in `folder`, and begin those that never began.

    Raises:
        UsageError: they are not readable, or name code that the sweeper would run.
    """
    found: Any = OmegaConf.to_container(read_yaml(folder / MULTIRUN))
    try:
        hydra, task = found["hydra"]["overrides"]["hydra"], found["hydra"]["overrides"]["task"]
        words = [*map(str, task), *(word for word in map(str, hydra) if word.lstrip("+").startswith(KEPT))]
    except (LookupError, TypeError) as error:
        raise UsageError(f"{folder / MULTIRUN}: the words of the sweep are not there") from error
    kept = words[len(task) :]
    wrong = [word for word in map(str, task) if word.startswith("-") or word.lstrip("+~").startswith("hydra")]
    wrong += [word for word in kept if any(name in word for name in NAMES_CODE)]
    if wrong:
        raise UsageError(
            f"{folder / MULTIRUN}: {wrong[0]} may name code; continue the sweep by its own words and resume=auto"
        )
    words = [without_resume(word) for word in words if not word.startswith("resume=")]
    return [*words, "resume=auto", f"hydra.sweep.dir={folder}"]


def without_resume(word: str) -> str:
    """Keep `resume=auto`, which the sweep may not have been started with, out of the names of its jobs."""
    if not word.startswith(f"{EXCLUDE}="):
        return word
    (override,) = OverridesParser.create().parse_overrides([word])
    keys: Any = override.value()
    return f"{EXCLUDE}=[{','.join(map(repr, dict.fromkeys([*keys, 'resume'])))}]"


def refuse_others(words: Sequence[str], folder: Path) -> None:
    """Raise `UsageError` for a word that is not about who starts the jobs of a sweep and how many."""
    for word in words:
        if not word.startswith(("hydra/launcher=", "hydra.launcher.", "hydra/sweeper=", "hydra.sweeper.")):
            raise UsageError(
                f"{word}: {folder} is a sweep, whose settings stay; say who starts its jobs, hydra/launcher=… "
                "and hydra.launcher.…=…, or continue one of its runs"
            )
