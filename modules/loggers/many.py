"""Several loggers behind one, none of which can end a run but the one that resuming needs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from modules.errors import told
from modules.loggers.base import Logger, Row, State

log = logging.getLogger("recall")
NEEDED = "csv"  # what resuming reads


class ManyLoggers(Logger):
    """Fan-out to loggers, in their order; one that fails is reported once, and left out from then on.

    Not so the CSV files: a run whose rows are lost could neither be resumed exactly nor be reported, so their failure,
    which is the disk's, is the run's.

    Args:
        loggers: under the names of their destinations.
        left: the state of those that could not even be opened.
    """

    def __init__(self, loggers: Mapping[str, Logger], left: Mapping[str, str | int]) -> None:
        self._loggers = dict(loggers)
        self._open = True
        self._left: State = dict(left)  # by those that are left out: a resumed run tries again where they stopped

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        self._each(lambda logger: logger.log(frames, metrics))

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        self._each(lambda logger: logger.table(name, frames, rows))

    def image(self, frames: int, path: Path) -> None:
        self._each(lambda logger: logger.image(frames, path))

    def video(self, frames: int, path: Path) -> None:
        self._each(lambda logger: logger.video(frames, path))

    def finish(self, summary: Mapping[str, object]) -> None:
        """Close all, whatever fails on the way; all that they can lose now is said."""
        for name, logger in self._loggers.items() if self._open else ():
            try:
                logger.finish(summary)
            except (Exception, SystemExit) as error:
                log.warning("logger %s could not be closed: %s", name, told(error))
        self._open = False

    def state(self) -> State:
        """Return the states of all; their keys differ."""
        states: list[State] = [self._left]
        self._each(lambda logger: states.append(logger.state()))
        return {key: value for state in states for key, value in state.items()}

    def leave_out(self, name: str, error: BaseException) -> None:
        """Continue without a logger that failed."""
        log.warning("logger %s failed and is left out from here on: %s", name, told(error))
        if (logger := self._loggers.pop(name, None)) is not None:
            with suppress(Exception):
                self._left |= logger.state()
            with suppress(Exception):
                logger.finish({"status": "failed"})

    def _each(self, call: Callable[[Logger], object]) -> None:
        for name, logger in [*self._loggers.items()]:
            try:
                call(logger)
            except Exception as error:
                if name == NEEDED:
                    raise
                self.leave_out(name, error)
