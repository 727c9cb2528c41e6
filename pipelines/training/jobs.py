"""Jobs of a multirun: all are checked before one begins, and what failed is named at the end."""

import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.errors import CompactHydraException

from modules.files import open_itself
from modules.spec import UsageError
from pipelines.config.check import check
from pipelines.config.composing import compose_run, composing, sweep
from pipelines.config.flags import COMPOSING, SWEEP
from pipelines.config.hints import refuse_bare_words
from pipelines.config.plugins import refuse_endless
from pipelines.config.schema import read
from pipelines.training.run_folder import refuse_existing

FAILED_JOBS = "failed_jobs.jsonl"  # in the folder of a multirun


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


def is_worker() -> bool:
    """Tell whether this process is one of joblib's, which works off jobs of a multirun."""
    return multiprocessing.current_process().name.startswith("LokyProcess")


def is_abandoned() -> bool:
    """Tell whether this is a worker whose multirun is gone: nobody waits for its results any more."""
    parent = multiprocessing.parent_process()
    return is_worker() and parent is not None and os.getppid() != parent.pid


def preflight(words: Sequence[str]) -> None:
    """Read and check a run, or every job of a sweep, before Hydra makes a folder; other flags are left to Hydra."""
    refuse_endless(words)
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    overrides = [word for word in words if not word.startswith("-")]
    if "--config-dir" in flags or flags - {SWEEP} - COMPOSING:
        return
    refuse_bare_words(overrides)
    with composing():
        jobs = (
            [compose_run(job, number) for number, job in sweep(overrides)]
            if SWEEP in flags
            else [compose_run(overrides)]
        )
    if flags & COMPOSING:
        return
    for number, (cfg, run_dir) in enumerate(jobs):
        if (first := next(i for i, (_, other) in enumerate(jobs) if other == run_dir)) < number:
            raise UsageError(f"{run_dir}: jobs {first} and {number} of the sweep would both be there; let them differ")
        refuse_existing(run_dir)
        check(read(cfg), run_dir)
