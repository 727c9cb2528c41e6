"""Files and folders that cannot be read or written: words for `bad_commands`, and the folders that stand in them."""

from pathlib import Path

PLACES: dict[str, str] = {}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
