"""W&B's own charts in the terminal, over all runs of a sweep."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.spec import UsageError
from pipelines.config.sweep_names import job_in


def show_in_terminal(places: Sequence[Path]) -> int:
    """Show what W&B recorded in `places` until the user ends it; returns the exit code.

    Raises:
        UsageError: there is nothing to show, or no terminal to show it in.
    """
    records = [record for place in places for record in records_in(place)]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--terminal draws in a terminal, and this is none; without it there is a page for a browser.")
    with tempfile.TemporaryDirectory(prefix="recall-charts-") as folder:
        linked(records, Path(folder))
        return subprocess.run([sys.executable, "-m", "wandb", "leet", folder], check=False).returncode


def records_in(place: Path) -> list[Path]:
    """Find the folders of W&B's runs in `place`; of a job of a sweep without any, those of the sweep."""
    if not place.is_dir():
        raise UsageError(f"'{place}' is no folder; give a run directory or a folder above several.")
    job = job_in(place)
    found = [*recorded(place)] or ([*recorded(job.shared)] if job else [])
    if not found:
        raise UsageError(f"no run of W&B found in '{place}': train with logger=wandb, or leave out --terminal.")
    return sorted(found)


def recorded(place: Path) -> Iterator[Path]:
    """Yield the folders of W&B's runs in `place` and below."""
    for folder, inner, _ in os.walk(place):
        if "wandb" in inner:
            inner.remove("wandb")  # what is in there is no run of ours
            yield from (file.parent for file in (Path(folder) / "wandb").glob("*run-*/run-*.wandb"))


def linked(records: Sequence[Path], folder: Path) -> None:
    """Make `folder` one that W&B takes for its own: a link to each record, once."""
    for record in dict.fromkeys(path.resolve() for path in records):
        (folder / record.name).symlink_to(record)
