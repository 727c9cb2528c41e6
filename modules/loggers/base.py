"""The interface that every logger has."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

State = dict[str, str | int]
Row = Mapping[str, float | None]


class Logger:
    """One destination of a run's numbers; the x of everything is the environment frames collected so far.

    This one keeps nothing, and neither does a destination of what it does not override.
    """

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Write one log event, of metrics that are declared."""

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        """Write rows of a table of that name, at least one.

        All have the same columns, of which the first says which row it is. None is a number that is not there.
        """

    def image(self, frames: int, path: Path) -> None:
        """Show the PNG file at `path` (inside the run directory) under its name without the ending."""

    def video(self, frames: int, path: Path) -> None:
        """Show the video file at `path` (inside the run directory; mp4, gif or webm)."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """Hand over the summary (JSON values, with `status`) and close; a second call does nothing."""

    def state(self) -> State:
        """Return what a resumed run needs to continue the same log, with everything logged so far on disk."""
        return {}


def numbers_in(name: str, rows: Sequence[Row]) -> dict[str, float]:
    """Name the numbers of a table one by one, as TABLE/COLUMN/ROW; whole numbers have two digits, so that they sort."""
    found: dict[str, float] = {}
    for row in rows:
        first, *others = row
        which = f"{row[first]:02d}" if isinstance(row[first], int) else str(row[first])
        found |= {f"{name}/{column}/{which}": value for column in others if (value := row[column]) is not None}
    return found


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested settings with its dotted name; lists stay whole."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
