"""The logger that keeps nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.loggers.arms import ArmEpisodes
from modules.loggers.base import State
from modules.loggers.metrics import check


class NoLogger:
    """Null object: refuses unknown names like every logger, and writes nothing."""

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Check the names only."""
        del frames
        check(metrics)

    def arms(self, frames: int, arms: Sequence[ArmEpisodes]) -> None:
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
