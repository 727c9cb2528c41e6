"""What is written for people: for a reader who may leave early, in any encoding, whatever folders are called."""

import io
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Unread(SystemExit):
    """The process ends because its output can be written no more; whoever handles `sys.exit` of others lets it pass."""


@contextmanager
def while_read() -> Iterator[None]:
    """End the process, with the exit code of other programs, once nobody reads what it writes or the disk is full."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        _discard()
        raise Unread(128 + signal.SIGPIPE) from error
    except OSError as error:
        _discard()
        complain(f"standard output: {error.strerror}")
        raise Unread(1) from error


def write(text: str) -> None:
    """Write `text`, if anybody reads it."""
    with while_read():
        sys.stdout.write(text)


def complain(sentence: str) -> None:
    """Say on stderr what is wrong, if that can be written: it may lie on the disk that is full."""
    with suppress(OSError):
        sys.stderr.write(f"error: {one_line(sentence)}\n")


def _discard() -> None:
    # What is still in the buffer would end in a second, unavoidable complaint at the interpreter's end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_unprintable() -> None:
    """Let standard output escape what its encoding lacks, as standard error does: no log line is worth a run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def one_line(text: str) -> str:
    """Escape line breaks and whatever else cannot be printed, which names of folders may hold."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quote_path(path: Path | str) -> str:
    """Write a path as a shell reads it, in one line; what cannot be printed in the way of bash, ksh and zsh."""
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    kept = (char if char.isprintable() and char not in "\\'" else escape(char) for char in text)
    return f"$'{''.join(kept)}'"


def escape(char: str) -> str:
    """Write the bytes of a character as such a shell reads them."""
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def log_to_files(sentence: str) -> None:
    """Write an error into the log files, and nowhere else."""
    log = logging.getLogger("recall")
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, sentence, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
