"""The interface that every logger has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from modules.loggers.arms import ArmEpisodes

State = dict[str, str | int]


class Logger(Protocol):
    """One destination of a run's numbers; the x of everything is the environment frames collected so far."""

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Write one log event.

        Raises:
            KeyError: a name that is not in `modules.loggers.metrics.METRICS`.
        """
        ...

    def arms(self, frames: int, arms: Sequence[ArmEpisodes]) -> None:
        """Write what each arm of the family did since the last such event, arm 0 first."""
        ...

    def image(self, frames: int, path: Path) -> None:
        """Show the PNG file at `path` (inside the run directory) under its name without the ending."""
        ...

    def video(self, frames: int, path: Path) -> None:
        """Show the video file at `path` (inside the run directory; mp4, gif or webm)."""
        ...

    def finish(self, summary: Mapping[str, object]) -> None:
        """Hand over the summary (JSON values, with `status`) and close; a second call does nothing."""
        ...

    def state(self) -> State:
        """Return what a resumed run needs to continue the same log, with everything logged so far on disk."""
        ...
