"""The first phase: the words of a command line become a configuration, or a sentence that says what is wrong."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from modules.spec import UsageError
from pipelines.config.help_text import help_text
from pipelines.config.hints import (
    CONF,
    misplaced_option,
    refuse_bare_words,
    to_hydra,
    unknown_option,
    unknown_setting,
)
from pipelines.config.settings import folder
from pipelines.config.sweep_names import folder_of_job, leave_out_fixed

OmegaConf.register_new_resolver("folder_of_job", folder_of_job, replace=True)
OmegaConf.register_new_resolver("help_text", help_text, replace=True)


@contextmanager
def composing() -> Iterator[None]:
    """Have `composed` and `sweep` read `conf/`; what Hydra complains of becomes a `UsageError` of one line.

    Hydra's one global state is afterwards what it was before: a notebook may use Hydra for something else.
    """
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            yield
    except UsageError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(one_line(error)) from error
    finally:
        GlobalHydra.instance().hydra = before


def compose_settings(words: Sequence[str]) -> tuple[DictConfig, Path]:
    """Compose the settings of one run from the words of a command line; return them and the run's directory."""
    if flags := [word for word in words if word.startswith("-")]:
        raise UsageError(f"{flags[0]}: no such option here; say setting=value")
    refuse_bare_words(words)
    with composing():
        return compose_run(to_hydra(words))


def compose_jobs(words: Sequence[str]) -> list[tuple[DictConfig, Path]]:
    """Compose the settings of every job of a sweep, with its directory, as `compose_settings` does for one run."""
    if flags := [word for word in words if word.startswith("-")]:
        raise UsageError(f"{flags[0]}: no such option here; say setting=value")
    refuse_bare_words(words)
    overrides = leave_out_fixed(to_hydra(words))
    with composing():
        sweeper = multirun_settings(overrides).sweeper
        if sweeper_space(overrides, sweeper) is not None:
            raise UsageError("hydra/sweeper: only Hydra's own can be used here, which takes every combination")
        return compose_sweep(overrides, sweeper)


def compose_sweep(overrides: Sequence[str], sweeper: DictConfig) -> list[tuple[DictConfig, Path]]:
    """Compose every job that Hydra's own sweeper would start, with its directory, all at the same time of day."""
    jobs: list[tuple[DictConfig, Path]] = []
    for number, job in sweep(overrides, sweeper):
        jobs.append(compose_run(job, number, like=jobs[0][0] if jobs else None))
    return jobs


def sweep(overrides: Sequence[str], sweeper: DictConfig) -> Iterator[tuple[int, list[str]]]:
    """Yield number and overrides of each job that Hydra's own sweeper would start."""
    parsed = parse_overrides(overrides, sweeper)
    yield from enumerate(job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch)


def sweeper_space(overrides: Sequence[str], sweeper: DictConfig) -> list[Override] | None:
    """What a sweeper that chooses as it goes may choose from; None for Hydra's own, which starts every job."""
    if sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return None
    return parse_overrides(overrides, sweeper)


def multirun_settings(overrides: Sequence[str]) -> DictConfig:
    """Compose Hydra's own settings of a sweep, its sweeper's and its launcher's among them."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    with complaints(overrides):
        cfg = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
    return cfg.hydra


def parse_overrides(overrides: Sequence[str], settings: DictConfig) -> list[Override]:
    """Parse the words of a sweep: those of the sweeper's `params`, and then those of the command line."""
    words = [f"{name}={values}" for name, values in (settings.get("params") or {}).items()]
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides([*words, *overrides])


def compose_run(
    overrides: Sequence[str], job: int | None = None, like: DictConfig | None = None
) -> tuple[DictConfig, Path]:
    """Compose the settings of one run, or of a sweep's `job`-th; return them and the run's directory.

    The time of day is that of `like`, where that has one already.
    """
    more = [] if job is None else [f"hydra.job.num={job}", f"hydra.job.id={job}"]
    with complaints(overrides):
        cfg = compose("config", [*overrides, *more], return_hydra_config=True)
    if like is not None:
        OmegaConf.copy_cache(like, cfg)
    hydra = cfg.hydra
    run_dir = folder(hydra.run.dir, "hydra.run.dir")
    if job is not None:
        run_dir = folder(hydra.sweep.dir, "hydra.sweep.dir") / folder(hydra.sweep.subdir, "hydra.sweep.subdir")
    del cfg.hydra
    return cfg, run_dir


@contextmanager
def complaints(overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra says to settings that do not exist into a sentence that says which do."""
    try:
        yield
    except ConfigCompositionException as error:
        text = f"{error} {error.__cause__}"
        known = unknown_setting(text, overrides) or unknown_option(text) or misplaced_option(text, overrides)
        raise UsageError(known or one_line(error)) from error


def one_line(error: BaseException) -> str:
    """Put what Hydra says over several lines, and the cause behind it, into one."""
    text = re.split(r"^\s*Config search path", str(error), maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip() for line in f"{text}\n{error.__cause__ or ''}".splitlines()]
    kept = [line for line in lines if not line.startswith(("object_type=", "reference_type=", "full_key:"))]
    return " ".join(filter(None, dict.fromkeys(kept)))
