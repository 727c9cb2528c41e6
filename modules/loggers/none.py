"""The logger that keeps nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.loggers.base import Row, State


class NoLogger:
    """Null object."""

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        """Do nothing."""

    def image(self, frames: int, path: Path) -> None:
        """Do nothing."""

    def video(self, frames: int, path: Path) -> None:
        """Do nothing."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """Do nothing."""

    def state(self) -> State:
        """Return nothing to restore."""
        return {}
