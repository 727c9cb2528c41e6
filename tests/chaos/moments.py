"""Disturbances from inside a process, at a chosen moment; for `before=` of `launch`."""

import builtins
import errno
import io
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PHASES = {  # function in the stack → what the run is at; the innermost counts
    "build": "build",
    "film": "film",
    "_evaluate": "evaluation",
    "save": "save",
    "end_episodes_and_save": "save",
    "_learn": "learning",
    "train": "collection",
    "draw_pictures": "pictures",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def signal_after(seconds: float, signum: int, note: Path) -> None:
    """Send the process a signal after `seconds`; note the time and what it was at."""

    def send() -> None:
        time.sleep(seconds)
        frame, phase = sys._current_frames()[threading.main_thread().ident], "before and after"  # type: ignore[index]
        while frame is not None:
            if phase == "before and after":
                phase = PHASES.get(frame.f_code.co_name, phase)
            frame = frame.f_back
        note.write_text(f"{time.monotonic()} {phase}")
        os.kill(os.getpid(), signum)

    threading.Thread(target=send, daemon=True).start()


def note_time(note: Path) -> None:
    """Write down when the process began."""
    note.write_text(str(time.monotonic()))


def kill_after(seconds: float) -> None:
    """Kill the process after `seconds`, whatever it is at."""

    def kill() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


def count_writes(note: Path) -> None:
    """Write down how often the process has written below its folder so far."""
    handle = os.open(note, os.O_WRONLY | os.O_CREAT)
    refuse_from(sys.maxsize, errno.ENOSPC, lambda done: os.pwrite(handle, str(done).encode(), 0))


def refuse_from(nth: int, number: int, tell: Callable[[int], object] = lambda done: None) -> None:
    """Let the `nth` attempt to write below the current folder fail, and all that follow; tell the number of each."""
    here, done = f"{Path.cwd()}/", 0

    def attempt(path: object) -> None:
        nonlocal done
        if isinstance(path, int) or os.path.abspath(os.fsdecode(path)).startswith(here):  # type: ignore[arg-type]
            done += 1
            tell(done)
            if done >= nth:
                raise OSError(number, os.strerror(number), None if isinstance(path, int) else os.fsdecode(path))  # type: ignore[arg-type]

    def guarded(function, writes):
        def guard(*arguments, **settings):
            path = writes(*arguments, **settings)
            if path is not None:
                attempt(path)
            return function(*arguments, **settings)

        return guard

    opened = guarded(io.open, lambda path, mode="r", *_, **__: path if set(mode) & set("wxa+") else None)
    builtins.open = io.open = opened
    os.open = guarded(os.open, lambda path, flags, *_, **__: path if flags & WRITING else None)
    os.replace = guarded(os.replace, lambda source, target, **_: target)
    os.mkdir = guarded(os.mkdir, lambda path, *_, **__: path)
    os.unlink = guarded(os.unlink, lambda path, **_: path) if number == errno.EROFS else os.unlink
    os.fsync = guarded(os.fsync, lambda handle: handle)


def no_files_beyond(size: int) -> None:
    """Let no file grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def note_what_is_executed(note: Path) -> None:
    """Write down every class that a pickle asks for and every command that a shell is given."""
    handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, arguments: tuple) -> None:
        if event in ("pickle.find_class", "os.system", "os.exec"):
            os.write(handle, f"{event} {arguments}\n".encode())

    sys.addaudithook(hook)
