"""The ring of rows on disk: opened or created whole, refused where it does not fit or was damaged."""

import errno
import json
import os
import shutil
from pathlib import Path

import psutil
import torch
from tensordict import MemoryMappedTensor, TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyMemmapStorage

from modules.files import naming_file, open_itself, refuse_link
from modules.spec import UsageError
from modules.torchrl_internals import adopt, fields_in

EVALUATE = "so this run cannot be resumed; evaluate still works"
GIB = 2**30
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_CLAIMS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # of file systems on which disk cannot be claimed


def refuse_what_does_not_fit(needed: int, directory: Path, *, beside: int = 0) -> None:
    """Raise `UsageError` if `needed` bytes do not fit the disk of `directory`; memory only caches them.

    `beside` are the bytes of the run's checkpoints, on the same disk.
    """
    existing = next(path for path in (directory, *directory.parents) if path.exists()).absolute()
    mine = [*directory.glob("*"), *directory.with_name("checkpoints").glob("*.pt")]  # of a run that is resumed
    held = sum(path.lstat().st_blocks * 512 for path in mine)
    disk, memory = shutil.disk_usage(existing).free + held, psutil.virtual_memory().available
    if needed <= disk < needed + beside:
        raise UsageError(
            f"the run takes {readable(needed + beside)} for replay and checkpoints, but {existing} has "
            f"{readable(disk)} of disk left: lower keep_checkpoints, make the network smaller or choose another "
            "hydra.run.dir"
        )
    if needed > disk:
        raise UsageError(
            f"replay.capacity: the replay takes {readable(needed)}, but {existing} has {readable(disk)} of disk and "
            f"the machine {readable(memory)} of memory left: lower replay.capacity or choose another hydra.run.dir"
        )


def readable(size: int) -> str:
    """Write a number of bytes in GiB, small ones in MiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"


def read_schema(meta: Path) -> dict[str, tuple[str, list[int]]]:
    """Read from a ring's meta.json the name, type and shape of everything that should lie beside it."""
    try:
        fields = {key: field for key, field in json.loads(meta.read_text()).items() if isinstance(field, dict)}
        return {key: (field["dtype"], field["shape"]) for key, field in fields.items()}
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(f"{meta}: damaged, {EVALUATE}") from error


def refuse_links(directory: Path) -> None:
    """Raise `UsageError` if rows would be written to other files than those in `directory`.

    The folder may itself be a link, to another disk, if a ring is there; a new one could take the place of something.
    """
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        refuse_link(path)
    if directory.is_symlink() and not (directory / "meta.json").exists():
        raise UsageError(f"{directory}: a link to a folder in which no replay is, so none begins there")


def refuse_damaged_files(directory: Path, ring: TensorDictBase) -> None:
    """Raise `UsageError` if a file of `ring` is missing or was cut: opened, it would read as zeros."""
    for key, field in ring.items():
        path = directory / f"{key}.memmap"
        if not path.is_file():
            raise UsageError(f"{path}: missing, {EVALUATE}")
        size, needed = path.stat().st_size, field.numel() * field.element_size()
        if size != needed:
            raise UsageError(f"{path}: {size} bytes instead of {needed}, {EVALUATE}")


def fields_of(directory: Path, like: TensorDictBase) -> TensorDict:
    """Map the files of a ring, each as `like` says: TensorDict's own loader follows meta.json, even to a pickle."""
    fields = {
        key: MemoryMappedTensor.from_filename(directory / f"{key}.memmap", field.dtype, field.shape)
        for key, field in like.items()
    }
    return TensorDict(fields, batch_size=like.batch_size).lock_()


def claim(path: Path, advice: str) -> None:
    """Claim the disk that a sparse file only promises: full, it is an error here, and a crash in the middle of a run.

    macOS and some network file systems cannot claim it; there a full disk crashes the run.

    Raises:
        UsageError: there is no room; it ends with the `advice`.
        OSError: the file system refuses for another reason.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with naming_file(path), open_itself(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise UsageError(f"{path.parent}: no room for the replay ({error.strerror}): {advice}") from error
        if error.errno not in NO_CLAIMS:
            raise


def views_of(storage: LazyMemmapStorage) -> dict[str, Tensor]:
    """Look at the ring's entries as plain tensors: a memory-mapped tensor's own indexing takes nine times as long."""
    return {str(key): torch.as_tensor(field.numpy()) for key, field in fields_in(storage).items()}


def open_ring(directory: Path, template: TensorDict, rows: int, *, fewest: int) -> LazyMemmapStorage:
    """Open the ring in `directory`, or create it there with `rows` rows like `template`.

    One that is there keeps its size, `max_size`, which is at least `fewest`: `save_every` may be changed at a resume.
    """
    refuse_links(directory)
    existing = (directory / "meta.json").exists()
    found = read_schema(directory / "meta.json") if existing else {}
    there = {shape[0] for _, shape in found.values() if isinstance(shape, list) and shape}
    rows = next(iter(there), rows)
    storage = LazyMemmapStorage(rows, scratch_dir=directory, existsok=existing)
    if existing:
        expected = template.unsqueeze(0).expand(rows)
        if rows < fewest or found != {str(key): (str(v.dtype), list(v.shape)) for key, v in expected.items()}:
            raise UsageError(
                f"{directory}: the replay there does not fit the configuration (other rows, network or capacity); "
                "restore the config.yaml that the run was started with"
            )
        refuse_damaged_files(directory, expected)
        adopt(storage, fields_of(directory, expected))
    else:
        with naming_file(directory):
            storage.set(range(1), template.unsqueeze(0))
        for path in directory.glob("*.memmap"):
            claim(path, "lower replay.capacity")
    return storage
