"""Folders of a sweep's jobs: each is named by what varies."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

EXCLUDE = "hydra.job.config.override_dirname.exclude_keys"
MULTIRUN = "multirun.yaml"  # Hydra writes it into the folder of a sweep before its first job
OF_TRIALS = ("callbacks.pruning",)  # what a sweeper adds to the words of a job
LONGEST = 160  # characters, with room for what is written beside a folder


def leave_out_fixed(overrides: Sequence[str]) -> list[str]:
    """Add to a sweep's overrides that those with one value only are left out of the names of its jobs."""
    words = [word for word in overrides if not word.startswith("--")]
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException:  # whoever reads them next says it
        return list(overrides)
    if any(override.key_or_group == EXCLUDE for override in parsed):
        return list(overrides)
    fixed = [*OF_TRIALS, *(override.key_or_group for override in parsed if not override.is_sweep_override())]
    return [*overrides, f"{EXCLUDE}=[{','.join(map(repr, fixed))}]"]


def folder_of_job(overrides: str, number: int) -> str:
    """Name a job by its `overrides`, as `seed=0,network.memory=none`; by its number if nothing varies.

    A name that would be too long is cut, and a checksum of all of it follows.
    """
    parts = (part.lstrip("+~") for part in overrides.split(","))
    name = re.sub(r"[^\w.,=+()\[\]-]", "_", ",".join(parts).replace("/", "."))
    if not name.strip("."):
        return str(number)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]},{zlib.crc32(name.encode()):08x}"


@dataclass(frozen=True)
class Job:
    """What the folder of a run says of the sweep that it belongs to.

    Attributes:
        variant: what varies beside the seed, as `network.memory=none`; nothing if that is all.
        sweep: the folder of the sweep.
        shared: the folder for what all jobs write together: that of the sweep, or the run's own where nothing says
            that the folder above it is one.
    """

    variant: str
    sweep: Path
    shared: Path

    @property
    def group(self) -> str:
        """Name what the seeds of the sweep have in common: the variant, or the sweep if there is only one."""
        return self.variant or self.sweep.name


def job_in(run_dir: Path) -> Job | None:
    """Tell which job of a sweep a run is; None for a run of its own."""
    folder = run_dir.resolve()
    known = (folder.parent / MULTIRUN).is_file()
    if not known and "=" not in folder.name:
        return None
    parts = re.split(r",(?![^\[(]*[\])])", folder.name)  # at commas outside of brackets
    varies = [part for part in parts if "=" in part and not part.startswith("seed=")]
    return Job(",".join(varies), folder.parent, folder.parent if known else run_dir)
