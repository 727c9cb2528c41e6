"""Who hears of the signals that end a process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

ASKING = (signal.SIGINT, signal.SIGTERM)  # what terminals and schedulers send
ENDING = (*ASKING, signal.SIGQUIT, signal.SIGHUP)  # and what else ends a process by default, of what a terminal sends


class Stop(BaseException):
    """A signal, number `signum`, asked for the end; no error, and nothing that an environment's `except` may take.

    Attributes:
        missing: what it kept from being finished, if whoever it came to has said so.
    """

    missing: str = ""

    def __init__(self, signum: int) -> None:
        super().__init__(f"{signal.Signals(signum).name} asked for the end")
        self.signum = signum


class Stoppable(Protocol):
    """What looks at `stop_signal` between its steps, and ends if it is not 0."""

    stop_signal: int


class Asked:
    """Asks `loop` to end; raises `Stop` while there is none, and `KeyboardInterrupt` when it was asked before."""

    loop: Stoppable | None = None

    def __call__(self, signum: int, _: FrameType | None) -> None:
        if self.loop is None:
            raise Stop(signum)
        if self.loop.stop_signal:
            raise KeyboardInterrupt  # in the middle of a batch, so nothing can be saved
        self.loop.stop_signal = signum


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None], signums: tuple[int, ...] = ASKING) -> Iterator[None]:
    """Give signals to `handler` for a while; only the main thread can, others change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in signums}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
