"""What a command writes: standard output, whose reader may leave early, as `| head -1` does, and its one complaint."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def while_read() -> Iterator[None]:
    """End the process, with the exit code of other programs, once nobody reads what it writes or the disk is full."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        _discard()
        raise SystemExit(128 + signal.SIGPIPE) from error
    except OSError as error:
        _discard()
        complain(f"standard output: {error.strerror}")
        raise SystemExit(1) from error


def write(text: str) -> None:
    """Write `text`, if anybody reads it."""
    with while_read():
        sys.stdout.write(text)


def complain(sentence: str) -> None:
    """Say on stderr what is wrong, if that can be written: it may lie on the disk that is full."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"error: {sentence}\n")


def _discard() -> None:
    # What is still in the buffer would end in a second, unavoidable complaint at the interpreter's end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
