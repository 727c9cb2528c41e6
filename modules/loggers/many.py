"""Several loggers behind one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.loggers.arms import ArmEpisodes
from modules.loggers.base import Logger, State


class ManyLoggers:
    """Fan-out to several loggers, in their order."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._loggers = tuple(loggers)
        self._open = True

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Write one log event everywhere."""
        for logger in self._loggers:
            logger.log(frames, metrics)

    def arms(self, frames: int, arms: Sequence[ArmEpisodes]) -> None:
        """Write what each arm did everywhere."""
        for logger in self._loggers:
            logger.arms(frames, arms)

    def image(self, frames: int, path: Path) -> None:
        """Show the picture everywhere."""
        for logger in self._loggers:
            logger.image(frames, path)

    def video(self, frames: int, path: Path) -> None:
        """Show the video everywhere."""
        for logger in self._loggers:
            logger.video(frames, path)

    def finish(self, summary: Mapping[str, object]) -> None:
        """Close all, whatever fails on the way.

        Raises:
            ExceptionGroup: what failed, once all the others are closed.
        """
        errors = []
        for logger in self._loggers if self._open else ():
            try:
                logger.finish(summary)
            except Exception as error:
                errors.append(error)
        self._open = False
        if errors:
            raise ExceptionGroup("a logger could not be closed", errors)

    def state(self) -> State:
        """Return the states of all; their keys differ."""
        return {key: value for logger in self._loggers for key, value in logger.state().items()}
