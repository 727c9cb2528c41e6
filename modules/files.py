"""Files that are either whole or as they were before, and what to say when the file system refuses one."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from modules.spec import UsageError

PROBE_BYTES = 4096  # one block: an empty file would fit a full disk


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file that appears as `path` only when it is complete and on disk.

    Raises:
        OSError: which names `path`; what was there before is still there.
    """
    with about(path):
        if path.exists() and not path.is_file():  # a device or a pipe: nothing may take its place
            with path.open("wb") as file:
                write(file)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)  # whatever it is: through a link of that name, another file would be written
        try:
            with part.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            with contextlib.suppress(OSError):  # it would hide what went wrong
                part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` as a whole."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` as a whole."""
    write_bytes(path, text.encode())


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Let an `OSError` name `path`, not a file that stands in for it until it is complete, and not no file at all."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or " ".join(map(str, error.args)), str(path)) from error


def said(error: OSError) -> str:
    """Say in one sentence which file the system refused, as far as the error tells, and why."""
    if error.filename is None or error.strerror is None:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{error.filename}: {error.strerror}"


def refuse_unwritable(folder: Path, name: str) -> None:
    """Raise `UsageError` if no file can be written in `folder`, which need not exist yet; leaves nothing there.

    Permission bits would not tell: they do not bind root, and say nothing of a full or a read-only disk.

    Args:
        folder: to write in.
        name: of the setting by which the user chose it.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if _is_there(path))
        if nearest.is_dir():
            with tempfile.TemporaryFile(dir=nearest) as probe:
                probe.write(bytes(PROBE_BYTES))
            return
    except OSError as error:
        raise UsageError(f"{name}: {folder} cannot be written ({error.strerror})") from error
    why = "is a file" if nearest.exists() else "is a link that leads nowhere"
    raise UsageError(f"{name}: {folder} cannot be a folder, because {nearest} {why}")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
