"""What the entry points share: bad input and failures of the file system as one sentence, and exit codes."""

import json
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal import utils as hydra_utils
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from modules.errors import NonFiniteError
from modules.files import open_itself, refuse_link, refuse_unwritable, said
from modules.spec import UsageError
from pipelines.check import check
from pipelines.flags import COMPOSING, SWEEP
from pipelines.hints import CONF, opened, refuse_bare_words, unknown_option, unknown_setting
from pipelines.output import complain, escape_unprintable, quoted
from pipelines.plugins import refuse_endless
from pipelines.schema import read
from pipelines.settings import folder

USAGE_EXIT = 2
FAILED_JOBS = "failed_jobs.jsonl"  # in the folder of a multirun
# What a run goes on writing, where all else in its folder is replaced; the replay sees to itself.
GROWING = ("train.log", "metrics.csv", "timing.csv", "arms.csv", "checkpoints", "videos", "tensorboard", "wandb")


class RunFailed(Exception):  # noqa: N818 - it is the run that failed, in an orderly way
    """A run ended in an error that has been reported; whatever could be saved is."""


class JobFailed(CompactHydraException):
    """One job of a multirun failed; as Hydra shows it at the end, this names all jobs that did.

    Args:
        sweep_dir: of the multirun, in which `note_failed` has written.
        text: what there is to say if nothing could be written there.
    """

    def __init__(self, sweep_dir: Path, text: str) -> None:
        super().__init__(sweep_dir, text)
        self.sweep_dir, self.text = sweep_dir, text

    def __str__(self) -> str:
        """Read what has been noted since the multirun began."""
        try:
            began = path.stat().st_mtime if (path := self.sweep_dir / "multirun.yaml").exists() else 0.0
            noted = map(json.loads, (self.sweep_dir / FAILED_JOBS).read_text().splitlines())
            jobs = {job["folder"]: f"{job['folder']} ({job['overrides']}): {job['text']}"
                    for job in noted if job["at"] >= began}  # fmt: skip
        except (OSError, ValueError, LookupError):
            jobs = {}
        if not jobs:
            return f"error: {self.text}"
        return "\n".join([f"error: {len(jobs)} of the jobs did not finish:", *jobs.values()])


def note_failed(sweep_dir: Path, run_dir: Path, overrides: Sequence[str], text: str) -> JobFailed:
    """Write down, for the end of a multirun, that a job failed; return what Hydra is to be told."""
    line = {"at": time.time(), "folder": str(run_dir), "overrides": " ".join(overrides), "text": text}
    with suppress(OSError, UsageError), open_itself(sweep_dir / FAILED_JOBS, "a") as file:
        file.write(json.dumps(line) + "\n")
    return JobFailed(sweep_dir, text)


@contextmanager
def command() -> Iterator[None]:
    """Turn `UsageError` into its sentence on stderr and exit code 2, a failed run into exit code 1.

    What the file system refuses becomes a sentence too, with exit code 1.
    """
    logging.raiseExceptions = False  # else a full disk makes a traceback of every line of train.log
    escape_unprintable()
    try:
        yield
    except RunFailed as error:
        raise SystemExit(1) from error
    except UsageError as error:
        complain(str(error))
        raise SystemExit(USAGE_EXIT) from error
    except (OSError, NonFiniteError) as error:
        complain(said(error) if isinstance(error, OSError) else str(error))
        raise SystemExit(1) from error


@contextmanager
def passed_by_hydra() -> Iterator[None]:
    """Leave failures of the file system in Hydra's own work to `command`: it makes folders and opens train.log."""
    report = hydra_utils.run_and_report

    def passed(function: Callable[[], Any]) -> Any:
        failed: list[OSError] = []

        def tried() -> Any:
            try:
                return function()
            except OSError as error:
                failed.append(error)

        result = report(tried)  # which makes a traceback, or a sentence, of everything else
        if failed:
            raise failed[0]
        return result

    hydra_utils.run_and_report = passed
    try:
        yield
    finally:
        hydra_utils.run_and_report = report


def worker() -> bool:
    """Tell whether this process is one of joblib's, which works off jobs of a multirun."""
    return multiprocessing.current_process().name.startswith("LokyProcess")


def abandoned() -> bool:
    """Tell whether this is a worker whose multirun is gone: nobody waits for its results any more."""
    parent = multiprocessing.parent_process()
    return worker() and parent is not None and os.getppid() != parent.pid


def preflight(words: Sequence[str]) -> None:
    """Read and check a run, or every job of a sweep, before Hydra makes a folder; other flags are left to Hydra."""
    refuse_endless(words)
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    overrides = [word for word in words if not word.startswith("-")]
    if "--config-dir" in flags or flags - {SWEEP} - COMPOSING:
        return
    refuse_bare_words(overrides)
    with composing():
        jobs = [composed(job, number) for number, job in sweep(overrides)] if SWEEP in flags else [composed(overrides)]
    if flags & COMPOSING:
        return
    for cfg, run_dir in jobs:
        refuse_existing(run_dir)
        check(read(cfg), run_dir)


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
        raise UsageError(plain(error)) from error
    finally:
        GlobalHydra.instance().hydra = before


def configured(words: Sequence[str]) -> tuple[DictConfig, Path]:
    """Compose the settings of one run from the words of a command line; return them and the run's directory."""
    if flags := [word for word in words if word.startswith("-")]:
        raise UsageError(f"{flags[0]}: no such option here; say setting=value")
    refuse_bare_words(words)
    with composing():
        return composed(opened(words))


def sweep(overrides: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and overrides of each job that Hydra's own sweeper would start; other sweepers choose as they go."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    with complaints(overrides):
        cfg = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
    settings = cfg.hydra.sweeper
    if settings._target_.endswith(f".{BasicSweeper.__name__}"):
        words = [f"{name}={values}" for name, values in (settings.params or {}).items()] + list(overrides)
        parsed = OverridesParser.create().parse_overrides(words)
        yield from enumerate(job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch)


def composed(overrides: Sequence[str], job: int | None = None) -> tuple[DictConfig, Path]:
    """Compose the settings of one run, or of a sweep's `job`-th; return them and the run's directory."""
    more = [] if job is None else [f"hydra.job.num={job}", f"hydra.job.id={job}"]
    with complaints(overrides):
        cfg = compose("config", [*overrides, *more], return_hydra_config=True)
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
        raise UsageError(unknown_setting(text, overrides) or unknown_option(text) or plain(error)) from error


def refuse_existing(run_dir: Path) -> None:
    """Raise `UsageError` if `run_dir` holds a run already, cannot be a folder, cannot be written, or has links."""
    refuse_unwritable(run_dir, "hydra.run.dir")
    names = ("checkpoints", "summary.json", "metrics.csv", "replay")
    if any((run_dir / name).exists() for name in names) and not never_began(run_dir):
        raise UsageError(
            f"{run_dir}: a run is there already; go on with it by `python -m pipelines.resume run={quoted(run_dir)}` "
            "or choose another hydra.run.dir"
        )
    refuse_links(run_dir)


def refuse_links(run_dir: Path) -> None:
    """Raise `UsageError` if a file or folder that a run would write into leads elsewhere."""
    for name in GROWING:
        refuse_link(run_dir / name)


def never_began(run_dir: Path) -> bool:
    """Tell whether `run_dir` is that of a run of ours which ended before its first checkpoint and its first row."""
    try:
        ours = "_target_: pipelines.schema.Run" in (run_dir / "config.yaml").read_text().splitlines()
        rows = (run_dir / "metrics.csv").read_text().count("\n") if (run_dir / "metrics.csv").exists() else 0
        frames = json.loads(path.read_text())["frames"] if (path := run_dir / "summary.json").exists() else 0
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return ours and rows <= 1 and not frames and not any((run_dir / "checkpoints").glob("*.pt"))


def clear(run_dir: Path) -> None:
    """Remove what a run left that never began; a run begins here."""
    (run_dir / "error.txt").unlink(missing_ok=True)
    if never_began(run_dir):
        for name in ("summary.json", "metrics.csv", "timing.csv", "arms.csv"):
            (run_dir / name).unlink(missing_ok=True)
        shutil.rmtree(run_dir / "replay", ignore_errors=True)


def plain(error: BaseException) -> str:
    """Put what Hydra says over several lines, and the cause behind it, into one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines[: next((i for i, line in enumerate(lines) if line.startswith("Config search path")), None)]
    if error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("object_type=", "reference_type=", "full_key:"))]
    return " ".join(dict.fromkeys(kept))
