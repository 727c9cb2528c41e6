"""Replay of fixed-length rows in one memory-mapped ring on disk, sampled uniformly."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
from pydantic import Field
from tensordict import TensorDict, TensorDictBase
from torchrl.data import LazyMemmapStorage

from modules import keys
from modules.keys import Spaces, Symmetry
from modules.replay.rows import RowCutter, row_template
from modules.spec import Spec, UsageError, spec

PositiveInt = Annotated[int, Field(gt=0)]
GIB = 2**30


@spec
class SequenceSpec(Spec):
    """Settings of the sequence replay.

    Attributes:
        capacity: row slots that the sampler can draw from · steps that neighbours do not share; padding counts.
        length: steps of a row, T; 0 stands for whole episodes, as long as the longest (see `fitted`).
        overlap: steps that neighbouring rows of an episode share.
        batch_rows: rows of a batch, B.
        ratio: learned steps per collected step.
        mirror: show each sampled row mirrored with probability 1/2, where the environment has a mirror symmetry.
    """

    capacity: PositiveInt
    length: Annotated[int, Field(ge=0)]
    overlap: Annotated[int, Field(ge=0)]
    batch_rows: PositiveInt
    ratio: Annotated[float, Field(gt=0)]
    mirror: bool

    def fitted(self, max_steps: int | None) -> "SequenceSpec":
        """Put in the length of the longest episode where `length` asks for whole ones."""
        if self.length:
            return self
        if max_steps is None:
            raise UsageError("replay.length=0 (whole episodes) needs an environment with a time limit: give the steps")
        return replace(self, length=max_steps)

    @property
    def capacity_rows(self) -> int:
        """Rows that the sampler can draw from."""
        return self.capacity // (self.length - self.overlap)

    def needs(self, run: Any) -> Iterator[str]:
        """Rows must advance, and the ring must hold a batch."""
        if self.overlap >= self.length:
            yield f"replay.overlap={self.overlap} must be smaller than replay.length={self.length}"
        elif self.capacity_rows < self.batch_rows:
            yield (
                f"replay.capacity={self.capacity} steps hold {self.capacity_rows} rows, "
                f"fewer than replay.batch_rows={self.batch_rows}"
            )
        if self.mirror and run.env.symmetry() is None:
            yield "replay.mirror=true needs an environment with a mirror symmetry; this one has none: set it to false"
        elif self.mirror and self.length < (run.env.max_steps() or self.length + 1) and run.network.memory.states():
            yield "replay.mirror=true needs whole episodes (a recurrent state has no mirror image): set replay.length=0"
        if run.warmup_frames > self.capacity:
            yield f"warmup_frames={run.warmup_frames} must not exceed replay.capacity={self.capacity}"

    def interval_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows that may be written between two saves; episodes shorter than a row make more rows of a frame."""
        return -(-save_every // (self.length - self.overlap)) + 2 * batch_frames

    def ring_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows on disk: the capacity, and what the two newest checkpoints may still refer to."""
        return self.capacity_rows + 2 * self.interval_rows(save_every, batch_frames)

    def footprint(self, spaces: Spaces, states: Mapping[str, tuple[int, ...]], ring_rows: int) -> int:
        """Bytes on disk of the full ring; the page cache holds as much of it as memory allows."""
        return row_template(spaces, states, self.length).bytes() * ring_rows


def refuse_what_does_not_fit(needed: int, directory: Path) -> None:
    """Raise `UsageError` if `needed` bytes do not fit the disk of `directory`; memory only caches them."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    existing = existing.absolute()
    held = sum(path.stat().st_blocks * 512 for path in directory.glob("*"))  # by the ring of a run that is resumed
    disk, memory = shutil.disk_usage(existing).free + held, psutil.virtual_memory().available
    if needed > disk:
        raise UsageError(
            f"replay.capacity: the replay takes {needed / GIB:.1f} GiB, but {existing} has {disk / GIB:.1f} GiB "
            f"of disk and the machine {memory / GIB:.1f} GiB of memory left: lower replay.capacity or choose "
            "another hydra.run.dir"
        )


class SequenceReplay:
    """Ring of rows on disk that is its own snapshot.

    The ring is longer than what the sampler draws from: what a save saw is still there until the next one, so a
    checkpoint stores only the count of rows written (and the rows of running episodes never cross a save).
    """

    def __init__(
        self,
        settings: SequenceSpec,
        directory: Path,
        spaces: Spaces,
        states: Mapping[str, tuple[int, ...]],
        *,
        save_every: int,
        batch_frames: int,
        seed: int,
        symmetry: Symmetry | None = None,
    ) -> None:
        self.settings = settings
        self._cutter = RowCutter(length=settings.length, overlap=settings.overlap, states=tuple(states))
        self._ring = settings.ring_rows(save_every, batch_frames)
        # One batch of one-step episodes, with the tails of those that run, must still fit the interval.
        self._save_at = settings.interval_rows(save_every, batch_frames) - 2 * batch_frames
        self._mirror = Mirror(symmetry) if settings.mirror and symmetry is not None else None
        self._generator = torch.Generator().manual_seed(seed)
        self._written = 0
        self._saved = 0
        self._storage = open_ring(directory, row_template(spaces, states, settings.length), self._ring)
        # Plain views: a memory-mapped tensor's own indexing takes nine times as long.
        self._fields = {key: torch.as_tensor(field.numpy()) for key, field in self._storage._storage.items()}

    def __len__(self) -> int:
        """Rows that the sampler can draw."""
        return min(self._written, self.settings.capacity_rows)

    @property
    def must_save(self) -> bool:
        """Tell whether so many rows were written since the last save that the next one must not wait."""
        return self._written - self._saved > self._save_at

    def extend(self, batch: TensorDictBase) -> None:
        """Cut a batch [N, T] into rows and store those that it completes."""
        self._write(self._cutter.push(batch))

    def truncate(self) -> None:
        """End all running episodes here and store their tails."""
        rows = self._cutter.flush()
        if rows is not None:
            self._write(rows)

    def updates_owed(self, frames: int) -> float:
        """Optimiser steps that `frames` collected steps call for; 0 while there are too few rows for a batch."""
        s = self.settings
        return frames * s.ratio / (s.batch_rows * s.length) if len(self) >= s.batch_rows else 0.0

    def sample(self) -> TensorDict:
        """Draw a batch of rows [B] uniformly, with replacement."""
        oldest = self._written - len(self)
        index = torch.randint(oldest, self._written, (self.settings.batch_rows,), generator=self._generator)
        index %= self._ring
        rows = {key: field.index_select(0, index) for key, field in self._fields.items()}
        if self._mirror is not None:
            self._mirror(rows, torch.rand(len(index), generator=self._generator) < 0.5)
        return TensorDict(rows, batch_size=[self.settings.batch_rows])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of the replay; taking it marks the rows written so far as saved."""
        self._saved = self._written
        return {"written": self._written, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Move the cursor back to where the checkpoint saw it."""
        self._written = self._saved = state["written"]
        self._generator.set_state(state["generator"])

    def _write(self, rows: TensorDict) -> None:
        count = rows.shape[0]
        if count:
            index = torch.arange(self._written, self._written + count) % self._ring
            self._storage.set(index, rows)  # pyright: ignore[reportArgumentType]
            self._written += count


class Mirror:
    """Shows rows as a symmetry of their environment would have them; a recurrent state has no mirror image."""

    def __init__(self, symmetry: Symmetry) -> None:
        self._observation, self._action = torch.tensor(symmetry.observation), torch.tensor(symmetry.action)

    def __call__(self, rows: dict[str, torch.Tensor], which: torch.Tensor) -> None:
        """Mirror the rows `which` [B] in place."""
        seen, acted = rows[keys.OBSERVATION], rows[keys.ACTION]
        part = seen[which]
        seen[which] = part.flatten(2)[..., self._observation].view_as(part)
        acted[which] = self._action[acted[which]]


def refuse_missing_ring(directory: Path, state: Mapping[str, Any]) -> None:
    """Raise `UsageError` if a checkpoint's replay `state` refers to rows that are no longer in `directory`."""
    if state["written"] and not (directory / "meta.json").exists():
        raise UsageError(f"{directory}: the replay of this run is gone, so it cannot be resumed; evaluate still works")


def schema(rows: TensorDictBase) -> dict[str, tuple[str, list[int]]]:
    """Name, type and shape of everything in `rows`."""
    return {str(key): (str(v.dtype), list(v.shape)) for key, v in rows.items()}


def recorded(meta: Path) -> dict[str, tuple[str, list[int]]]:
    """Read from a ring's meta.json the schema of what should lie beside it."""
    try:
        fields = {key: field for key, field in json.loads(meta.read_text()).items() if isinstance(field, dict)}
        return {key: (field["dtype"], field["shape"]) for key, field in fields.items()}
    except (OSError, ValueError, LookupError, AttributeError) as error:
        raise UsageError(f"{meta}: damaged, so this run cannot be resumed; evaluate still works") from error


def refuse_damaged_files(directory: Path, ring: TensorDictBase) -> None:
    """Raise `UsageError` if a file of `ring` is missing or was cut: opened, it would read as zeros."""
    for key, field in ring.items():
        path = directory / f"{key}.memmap"
        if not path.is_file():
            raise UsageError(f"{path}: missing, so this run cannot be resumed; evaluate still works")
        size, needed = path.stat().st_size, field.numel() * field.element_size()
        if size != needed:
            raise UsageError(
                f"{path}: {size} bytes instead of {needed}, so this run cannot be resumed; evaluate still works"
            )


def reserve(directory: Path) -> None:
    """Claim the disk that sparse files only promise: full, it is an error here, and a crash in the middle of a run.

    macOS cannot claim it; there a disk that fills up during the run is that crash.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    for path in directory.glob("*.memmap"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise UsageError(
                f"{directory}: no room for the replay ({error.strerror}); lower replay.capacity"
            ) from error


def open_ring(directory: Path, template: TensorDict, rows: int) -> LazyMemmapStorage:
    """Open the ring in `directory`, or create it there with `rows` rows like `template`."""
    existing = (directory / "meta.json").exists()
    storage = LazyMemmapStorage(rows, scratch_dir=directory, existsok=existing)
    if existing:
        expected = template.unsqueeze(0).expand(rows)
        if recorded(directory / "meta.json") != schema(expected):
            raise UsageError(
                f"{directory}: the replay there does not fit the configuration (other rows, network or capacity); "
                "restore the config.yaml that the run was started with"
            )
        refuse_damaged_files(directory, expected)
        storage._storage, storage.initialized, storage._len = TensorDict.load_memmap(directory), True, rows
    else:
        storage.set(range(1), template.unsqueeze(0))
        reserve(directory)
    return storage
