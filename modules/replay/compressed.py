"""Rows whose observations are compressed: blocks of varying size, in files that are filled one after the other."""

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tensordict import TensorDict
from torch import Tensor

from modules import keys
from modules.files import naming_file, open_itself
from modules.keys import Entry
from modules.replay.cut_rows import CutRows, bytes_of, decompress
from modules.replay.ring import EVALUATE, claim
from modules.replay.storage import MemmapRows, StorageContext
from modules.spec import UsageError

SEGMENT, OFFSET, SIZE = "segment", "offset", "size"  # of a row's block: number of its file, where it starts, bytes
PLACE = {SEGMENT: Entry((), torch.int32), OFFSET: Entry((), torch.int64), SIZE: Entry((), torch.int32)}
PARTS = 64  # segments that the expected bytes are divided into: what is freed is a whole one
NEVER = -(2**62)  # newest row in a segment that has none


class CompressedRows:
    """Rows as `MemmapRows` has them, but for their observations, which lie in segments, each row in one block.

    A segment is used again once all of its rows have been overwritten; where none is free a further one is made. So
    what is there depends on the numbers of rows alone, as without compression.
    """

    def __init__(self, context: StorageContext, expected_ratio: float) -> None:
        self._observation = context.template[keys.OBSERVATION]
        places = {key: entry.zeros() for key, entry in PLACE.items()}
        rest = TensorDict({**context.template.exclude(keys.OBSERVATION), **places})
        self._rows = MemmapRows(replace(context, template=rest))
        self.max_size, self.fields = self._rows.max_size, self._rows.fields
        size, count = sizes_of(self._observation.nbytes, self.max_size, expected_ratio)
        self._segments = Segments(context.directory, size=size, count=count)

    def write(self, numbers: Tensor, rows: CutRows) -> None:
        rest, (blocks, _) = rows.in_blocks()
        oldest = int(numbers[-1]) + 1 - self.max_size
        places = [
            self._segments.append(block, number, oldest) for block, number in zip(blocks, numbers.tolist(), strict=True)
        ]
        segment, offset = torch.tensor(places).unbind(1)
        place = {SEGMENT: segment.int(), OFFSET: offset, SIZE: torch.tensor([len(b) for b in blocks]).int()}
        self._rows.write(numbers, CutRows(rest.update(place)))

    def read(self, numbers: Tensor) -> dict[str, Tensor]:
        rows = self._rows.read(numbers)
        places = [rows.pop(key) for key in PLACE]
        return {keys.OBSERVATION: self._unpack(places, numbers), **rows}

    def column(self, key: str, numbers: Tensor) -> Tensor:
        if key != keys.OBSERVATION:
            return self._rows.column(key, numbers)
        return self._unpack([self._rows.column(part, numbers) for part in PLACE], numbers)

    def refuse_lost(self, numbers: Tensor) -> None:
        self._segments.refuse_lost(*(self._rows.column(key, numbers) for key in PLACE))

    def path(self, key: str) -> Path:
        return self._segments.path(0) if key == keys.OBSERVATION else self._rows.path(key)

    def go_back(self, written: int, ever: int) -> None:
        numbers = torch.arange(max(0, ever - self.max_size), written)
        segment, offset, size = (self._rows.column(key, numbers) for key in PLACE)
        newest: dict[int, int] = dict(zip(segment.tolist(), numbers.tolist(), strict=True))
        end = int(offset[-1] + size[-1]) if len(numbers) else 0
        self._segments.go_back(newest, int(segment[-1]) if len(numbers) else 0, end)

    def measures(self, numbers: Tensor) -> dict[str, float]:
        packed = int(self._rows.column(SIZE, numbers).sum())
        return {"replay/compression": len(numbers) * self._observation.nbytes / packed} if packed else {}

    def _unpack(self, places: list[Tensor], numbers: Tensor) -> Tensor:
        """Decompress the blocks at these segments, offsets and sizes, [R] each, of the rows `numbers` [R]."""
        like = self._observation
        found = torch.empty((len(numbers), *like.shape), dtype=like.dtype)
        self._segments.refuse_lost(*places)
        wanted = zip(numbers.tolist(), bytes_of(found), *(place.tolist() for place in places), strict=True)
        for number, into, segment, offset, size in wanted:
            try:
                decompress(self._segments.block(segment, offset, size), into)
            except ValueError as error:
                where = self._segments.path(segment)
                raise UsageError(f"{where}: damaged, row {number} cannot be read, {EVALUATE}") from error
        return found


class Segments:
    """Files of bytes, which are filled one after the other and used again when nothing in them is needed any more.

    They are read and written by the system's calls, not mapped: a full disk is an error then and no crash, and however
    many there are none is held open.

    Args:
        directory: where they are.
        size: bytes of a new one.
        count: how many there are at least.

    Raises:
        UsageError: one is missing, or there is no room.
    """

    def __init__(self, directory: Path, *, size: int, count: int) -> None:
        self._directory, self._size = directory, size
        there = len(list(directory.glob(self.path(0).name.replace("0000", "*"))))
        for segment in range(there):
            if not self.path(segment).is_file():
                raise UsageError(f"{self.path(segment)}: missing, {EVALUATE}")
            claim(self.path(segment), "make room there")
        self._sizes = [self.path(segment).stat().st_size for segment in range(there)]
        while len(self._sizes) < count:
            self._make()
        self._newest = [NEVER] * len(self._sizes)  # row in each
        self._current, self._end = 0, 0  # where the next block goes, if it fits

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return self._directory / f"{keys.OBSERVATION}_{segment:04}.lz4"

    def append(self, block: bytes, number: int, oldest: int) -> tuple[int, int]:
        """Put down the block of row `number`; those before row `oldest` may be lost. Return segment and offset.

        Raises:
            UsageError: a further segment is needed, and there is no room for it.
        """
        if self._end + len(block) > self._sizes[self._current]:
            self._current, self._end = self._next(len(block), oldest), 0
        path, offset = self.path(self._current), self._end
        with naming_file(path), open_itself(path, "r+b", buffering=0) as file:
            if os.pwrite(file.fileno(), block, offset) < len(block):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(block)
        self._newest[self._current] = number
        return self._current, offset

    def block(self, segment: int, offset: int, size: int) -> bytes:
        """Read a block."""
        path = self.path(segment)
        with naming_file(path), open_itself(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def refuse_lost(self, segment: Tensor, offset: Tensor, size: Tensor) -> None:
        """Raise `UsageError` if blocks at these segments, offsets and sizes, [R] each, do not lie in the files."""
        known = (segment >= 0) & (segment < len(self._sizes))
        if not known.all():
            raise UsageError(f"{self.path(max(0, int(segment[~known][0])))}: missing, {EVALUATE}")
        sizes = torch.tensor(self._sizes)[segment.long()]
        right = (offset >= 0) & (size > 0) & (offset + size <= sizes)
        if not right.all():
            wrong = int(segment[~right][0])
            raise UsageError(f"{self.path(wrong)}: {self._sizes[wrong]} bytes, fewer than were written, {EVALUATE}")

    def go_back(self, newest: Mapping[int, int], current: int, end: int) -> None:
        """Have `newest` rows in some segments, nothing in the others, and go on in segment `current` at `end`."""
        self._newest = [newest.get(segment, NEVER) for segment in range(len(self._sizes))]
        self._current, self._end = current, end

    def _next(self, size: int, oldest: int) -> int:
        """Find a segment in which no row is needed any more, or make one."""
        for segment, newest in enumerate(self._newest):
            if newest < oldest and self._sizes[segment] >= size and segment != self._current:
                return segment
        self._make()
        self._newest.append(NEVER)
        return len(self._sizes) - 1

    def _make(self) -> None:
        """Make a segment that appears under its name only when its disk is claimed."""
        path = self.path(len(self._sizes))
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        try:
            with naming_file(path), open_itself(part, "xb") as file:
                file.truncate(self._size)
            claim(part, "make room there")
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(path)
        self._sizes.append(self._size)


def sizes_of(row: int, rows: int, expected_ratio: float) -> tuple[int, int]:
    """Bytes and count of the segments that `rows` rows with `row` bytes of observations each are expected to need."""
    expected = rows * row / expected_ratio
    bound = row + row // 255 + 16  # of a block, by LZ4
    size = max(bound, int(expected / PARTS))
    return size, int(expected / size) + 2  # one is being filled, another is only partly needed


def footprint(fields: Mapping[str, Entry], rows: int, expected_ratio: float) -> int:
    """Bytes on disk of `rows` rows with these entries, if observations shrink as expected."""
    observation = fields[keys.OBSERVATION].bytes
    rest = sum(entry.bytes for entry in (*fields.values(), *PLACE.values())) - observation
    size, count = sizes_of(observation, rows, expected_ratio)
    return rest * rows + size * count
