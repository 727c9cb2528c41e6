"""The words that a sweep was started with, off its folder, to start it again."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from modules.files import write_text
from modules.spec import UsageError
from pipelines.config.hints import CONF
from pipelines.config.plugins import read_yaml
from pipelines.config.sweep_names import EXCLUDE, MULTIRUN

# What is taken of Hydra's own settings. Who starts the jobs is said anew: such a word may name a command of the shell.
KEPT = (f"{EXCLUDE}=", "hydra/sweeper=basic", "hydra/sweeper=optuna", "hydra.sweeper.")
SWEEPER = re.compile(
    r"\+{0,2}hydra\.sweeper\.(n_trials|n_jobs|direction|prune|startup_trials|warmup|retries|sampler_seed|max_batch_size|params)\b"
)
NAMES_CODE = re.compile(r"hydra|_target_|[$\\@]")  # in the name or the value of what a sweeper varies
SUBDIR = "hydra.sweep.subdir="
PLAIN = re.compile(r"([\w,=+()\[\]-]|\.(?!\.)|\$\{[\w.]+\})+")  # a folder beneath the sweep's, named by settings


def is_sweep(folder: Path) -> bool:
    """Tell whether this is the folder of a sweep."""
    return (folder / MULTIRUN).is_file()


def write_words(folder: Path, words: Sequence[str]) -> None:
    """Write the words of a sweep into its folder, as Hydra does for one that it starts."""
    hydra = [word for word in words if word.lstrip("+~").startswith(("hydra.", "hydra/"))]
    overrides = {"hydra": hydra, "task": [word for word in words if word not in hydra]}
    content = {"hydra": {"overrides": overrides, "sweep": {"subdir": usual_subdir()}}}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MULTIRUN, OmegaConf.to_yaml(OmegaConf.create(content)))


def words_of(folder: Path) -> list[str]:
    """Read the words that continue every job of the sweep in `folder`, and begin those that never began.

    Raises:
        UsageError: they are not readable, or name code that the sweeper would run.
    """
    found: Any = OmegaConf.to_container(read_yaml(folder / MULTIRUN))
    try:
        hydra, task = found["hydra"]["overrides"]["hydra"], found["hydra"]["overrides"]["task"]
        kept = [word for word in map(str, hydra) if word.lstrip("+").startswith(KEPT)]
        words = [*map(str, task), *kept, *names_of_jobs(found["hydra"], hydra)]
    except (LookupError, TypeError) as error:
        raise UsageError(f"{folder / MULTIRUN}: the words of the sweep are not there") from error
    wrong = [word for word in map(str, task) if re.match(r"-|[+~]*hydra|[^=]*@", word)]
    for word in kept:
        of_sweeper = SWEEPER.match(word)
        if word.lstrip("+").startswith("hydra.sweeper.") and (
            not of_sweeper or NAMES_CODE.search(word[of_sweeper.end() :])
        ):
            wrong.append(word)
    wrong += [word for word in words if word.startswith(SUBDIR) and not PLAIN.fullmatch(word.removeprefix(SUBDIR))]
    if wrong:
        raise UsageError(
            f"{folder / MULTIRUN}: {wrong[0]} may name code; continue the sweep by its own words and resume=auto"
        )
    words = [without_resume(word) for word in words if not word.startswith("resume=")]
    return [*words, "resume=kept", f"hydra.sweep.dir={folder}"]


def names_of_jobs(found: Any, overrides: Sequence[Any]) -> list[str]:
    """How the folders of the jobs were named, if not as today: by a word of the sweep, or by an older default."""
    if given := [str(word) for word in overrides if str(word).lstrip("+").startswith(SUBDIR)]:
        return [given[-1].lstrip("+")]
    named = found.get("sweep", {}).get("subdir")
    return [] if named in (None, usual_subdir()) else [f"{SUBDIR}{named}"]


def usual_subdir() -> str:
    """How the folders of jobs are named today."""
    conf: Any = OmegaConf.to_container(read_yaml(Path(CONF) / "config.yaml"))
    return conf["hydra"]["sweep"]["subdir"]


def without_resume(word: str) -> str:
    """Keep `resume=kept`, which the sweep may not have been started with, out of the names of its jobs."""
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
