"""Jobs of a multirun: what failed is named at the end."""

import json
import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.errors import CompactHydraException

from modules.files import open_itself
from modules.spec import UsageError
from pipelines.config.sweep_names import MULTIRUN

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
            began = path.stat().st_mtime if (path := self.sweep_dir / MULTIRUN).exists() else 0.0
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


def name_in_log(number: int, seed: object) -> None:
    """Have the terminal's lines say which job of a multirun they are of: several may write there at a time."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            line = f"[%(asctime)s][job {number}, seed {seed}][%(levelname)s] - %(message)s"
            handler.setFormatter(logging.Formatter(line))


def is_worker() -> bool:
    """Tell whether this process is one of joblib's, which works off jobs of a multirun."""
    return multiprocessing.current_process().name.startswith("LokyProcess")


def is_abandoned() -> bool:
    """Tell whether this is a worker whose multirun is gone: nobody waits for its results any more."""
    parent = multiprocessing.parent_process()
    return is_worker() and parent is not None and os.getppid() != parent.pid
