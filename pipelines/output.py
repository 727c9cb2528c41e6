"""Standard output whose reader may leave early, as `| head -1` does."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def while_read() -> Iterator[None]:
    """End the process quietly, with the exit code of other programs, once nobody reads what it writes."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        # What is still in the buffer would end in a second, unavoidable complaint at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from error


def write(text: str) -> None:
    """Write `text`, if anybody reads it."""
    with while_read():
        sys.stdout.write(text)
