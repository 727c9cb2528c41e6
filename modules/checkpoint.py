"""Checkpoints: one file each, written atomically, the last few kept, read without running pickled code."""

import contextlib
import os
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from modules.files import make_folder, write_whole
from modules.spec import UsageError

FORMAT = "recall-checkpoint"
VERSION = 1
PATTERN = re.compile(r"frames_(\d+)\.pt")


class Damaged(UsageError):  # noqa: N818 - it is the file that is damaged
    """A file cannot be read as a checkpoint: it was cut, its bytes have changed, or it never was one."""


def save(directory: Path, frames: int, state: Mapping[str, Any], *, keep: int) -> Path:
    """Write `state` as the checkpoint of `frames` and delete all but the newest `keep`.

    The file appears under its name only when it is complete and on disk: a kill leaves the previous one intact. Those
    of later frames are damaged ones that a resumed run did not continue from, and are deleted as well.
    """
    path = path_of(directory, frames)
    write(path, state)
    paths = list_checkpoints(directory)
    now = paths.index(path) + 1
    for other in (*paths[now:], *paths[: max(0, now - keep)]):
        other.unlink()
    return path


def path_of(directory: Path, frames: int) -> Path:
    """Name the checkpoint of `frames`."""
    return directory / f"frames_{frames:012d}.pt"


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write one checkpoint file atomically; raises `OSError` if there is no room, `UsageError` behind a link."""
    make_folder(path.parent)

    def fill(file: IO[bytes]) -> None:
        try:
            torch.save({"format": FORMAT, "version": VERSION, **state}, file)
        except RuntimeError as error:  # PyTorch closes its archive even after a failed write, and complains of that
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    write_whole(path, fill)


NUMBERS_AND_TEXT = (int, float, bool, complex, str, bytes, type(None))
OF_TORCH = (torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device)


def refuse_unreadable(state: Any, where: str) -> None:
    """Raise `TypeError` for a number, table or object in a part's `state` that `load` would not read back."""
    if type(state) in (dict, OrderedDict):
        for name, value in state.items():
            refuse_unreadable(name, where)
            refuse_unreadable(value, f"{where}[{name!r}]")
    elif type(state) in (list, tuple, set):
        for value in state:
            refuse_unreadable(value, where)
    elif type(state) not in (*NUMBERS_AND_TEXT, *OF_TORCH):
        raise TypeError(
            f"{where}: a {type(state).__module__}.{type(state).__qualname__} cannot be kept in a checkpoint; tensors, "
            "plain numbers, text, lists and tables of these can"
        )


def list_checkpoints(directory: Path) -> list[Path]:
    """List the checkpoints in `directory`, oldest first."""
    names = os.listdir(directory) if directory.is_dir() else ()  # `glob` would find nothing where it may not look
    return sorted(directory / name for name in names if PATTERN.fullmatch(name))


def latest(directory: Path) -> Path:
    """Find the newest checkpoint, or raise `UsageError`."""
    paths = list_checkpoints(directory)
    if not paths:
        raise UsageError(
            f"{directory}: no checkpoint (frames_<count>.pt) is here; if the run ended before its first one, delete "
            "its folder and start again"
        )
    return paths[-1]


def newest_whole(directory: Path) -> tuple[Path, dict[str, Any]]:
    """Read the newest checkpoint that is not damaged; raises `UsageError` if there is none, or it is not ours."""
    newest = latest(directory)
    for path in reversed(list_checkpoints(directory)):
        with contextlib.suppress(Damaged):
            return path, load(path)
    raise UsageError(f"{newest}: damaged, or written by another program, and no older checkpoint is readable either")


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; raises `UsageError` if it is missing or not ours, `Damaged` if it was cut or is no such file.

    PyTorch does not look at the checksums that it writes, and would inflate compressed entries of any size, which it
    never writes itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not plain or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("compressed")
            if archive.testzip() is not None:
                raise ValueError("checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such checkpoint") from error
    except OSError as error:
        raise UsageError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    except Exception as error:  # PyTorch's reader meets foreign bytes with whatever its parser stumbles over
        raise Damaged(
            f"{path}: not a readable checkpoint (truncated, damaged, or written by another program)"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of this program")
    if state.get("version") != VERSION:
        raise UsageError(f"{path}: checkpoint version {state.get('version')}, but this program reads version {VERSION}")
    return state
