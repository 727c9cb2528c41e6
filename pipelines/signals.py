"""Who hears of the signals that end a process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM)  # what terminals and schedulers send
ENDING = (*ASKING, signal.SIGQUIT, signal.SIGHUP)  # and what else ends a process by default, of what a terminal sends


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
