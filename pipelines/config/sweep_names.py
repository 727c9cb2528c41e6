"""Folders of a sweep's jobs: each is named by what varies."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

EXCLUDE = "hydra.job.config.override_dirname.exclude_keys"
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
    fixed = [override.key_or_group for override in parsed if not override.is_sweep_override()]
    return [*overrides, f"{EXCLUDE}=[{','.join(map(repr, fixed))}]"]


def folder_of_job(overrides: str, number: int) -> str:
    """Name a job by its `overrides`, as `seed=0,network.memory=none`; by its number if nothing varies.

    A name that would be too long is cut, and the number follows.
    """
    parts = (part.lstrip("+~") for part in overrides.split(","))
    name = re.sub(r"[^\w.,=+()\[\]-]", "_", ",".join(parts).replace("/", "."))
    if not name.strip("."):
        return str(number)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]},{number}"
