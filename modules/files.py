"""Files that are whole or as they were before, never others than they seem; what to say if the system refuses one."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from modules.spec import UsageError

PROBE_BYTES = 4096  # one block: an empty file would fit a full disk
DEVICES = Path("/dev")  # where a link is the system's, such as /dev/stdout


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file that appears as `path` only when it is complete and on disk.

    Raises:
        OSError: which names `path`; what was there before is still there.
    """
    with naming_file(path):
        if _is_stream(path):  # nothing may take its place
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


def refuse_link(path: Path) -> None:
    """Raise `UsageError` if what is written to `path`, a file or in a folder, would go elsewhere, or nowhere.

    A folder of unknown origin may have a link to any file of the user's, under any name that is opened for writing.
    What replaces a file as a whole (`write_whole`) replaces a link as well, and need not ask.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{path}: a link, through which nothing is written: put in its place what it leads to")
    if stat.S_ISREG(found.st_mode):
        if found.st_nlink > 1:
            raise UsageError(
                f"{path}: a hard link, through which nothing is written, since the file has other names too: put a "
                "copy in its place"
            )
    elif not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: no file, so nothing is written there")


def open_itself(path: Path, mode: str, **words: Any) -> IO[Any]:
    """Open a file that is there to be changed, or a new one; raises `UsageError` as `refuse_link` does."""
    refuse_link(path)
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666), **words)


def make_folder(path: Path) -> None:
    """Make a folder if it is not there; raises `UsageError` if it is behind a link."""
    refuse_link(path)
    path.mkdir(parents=True, exist_ok=True)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Let an `OSError` name `path`, not a file that stands in for it until it is complete, and not no file at all."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or " ".join(map(str, error.args)), str(path)) from error


def describe_error(error: OSError) -> str:
    """Say in one sentence which file the system refused, as far as the error tells, and why."""
    if error.filename is None or error.strerror is None:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{error.filename}: {error.strerror}"


def refuse_unwritable(folder: Path, name: str) -> None:
    """Raise `UsageError` if no file can be written in `folder`, the user's choice for the setting `name`.

    It need not exist yet, and nothing is left there. Permission bits would not tell: they do not bind root, and say
    nothing of a full or a read-only disk.
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


def _is_stream(path: Path) -> bool:
    """Tell whether this is a device or a pipe; a link to one is replaced, unless it is the system's own."""
    return path.exists() and not path.is_file() and (not path.is_symlink() or path.absolute().parent == DEVICES)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
