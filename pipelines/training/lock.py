"""One process per folder: by `flock`, or by a file that names the process where the file system has no locks."""

import contextlib
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from modules.files import refuse_link
from modules.spec import UsageError

FILE = "lock.json"
SAME_START_S = 60  # by which the start of one process may seem to differ: the clock of the machine is set at times

log = logging.getLogger("recall")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder`.

    The system takes `flock` back however a process dies, so that is what counts where it works. A file would outlive a
    kill, and keep out the same job on another machine; it is used only where there is nothing else.

    Raises:
        UsageError: another process is at work there.
        OSError: the folder cannot be opened, or the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        handle = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder}: another process is at work there") from error
        except OSError as error:
            log.warning("%s: no locks here (%s); the file %s keeps other processes out", folder, error.strerror, FILE)
            stack.enter_context(_lock_file(folder / FILE))
        yield


@contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    """Hold a file that exists as long as the lock is held, and longer only if this process is killed."""
    while True:
        try:
            file = path.open("x")
            break
        except FileExistsError:
            _clear(path)
    try:
        with file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())}, file)
        yield
    finally:
        with contextlib.suppress(OSError):  # a disk that has become read-only: the process is dead to the next one
            path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Take a lock file away whose process is gone, or raise `UsageError`."""
    refuse_link(path)  # one that leads nowhere is there and is not, for ever
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return  # it has just been given back
    try:
        found = json.loads(text)
        host, pid, started = str(found["host"]), int(found["pid"]), float(found["started"])
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path}: not a lock file of this program; delete it if nothing is at work there") from error
    if host != socket.gethostname():
        raise UsageError(f"{path}: process {pid} on {host} is at work there; if it is not any more, delete the file")
    if abs(_start_time(pid) - started) < SAME_START_S:
        raise UsageError(f"{path.parent}: another process is at work there ({pid})")
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
        path.rename(aside)
        if aside.read_text(encoding="utf-8") != text:  # and holds the lock already
            aside.rename(path)
            raise UsageError(f"{path.parent}: another process is at work there")
        aside.unlink()


def _start_time(pid: int) -> float:
    """When a process of this machine started, seconds since 1970; minus infinity if there is none."""
    try:
        process = psutil.Process(pid)
        return -float("inf") if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return -float("inf")
