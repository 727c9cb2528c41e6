"""Rows whose observations are compressed: blocks of varying size, in files that are filled one after the other."""

from collections.abc import Mapping
from pathlib import Path

import lz4.block
import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torch import Tensor

from modules import keys
from modules.files import naming_file, open_itself
from modules.keys import Entry
from modules.replay.ring import EVALUATE, claim
from modules.replay.storage import MemmapRows
from modules.spec import UsageError

SEGMENT, OFFSET, SIZE = "segment", "offset", "size"  # of a row's block: number of its file, where it starts, bytes
PLACE = {SEGMENT: Entry((), torch.int32), OFFSET: Entry((), torch.int64), SIZE: Entry((), torch.int32)}
LARGEST = 2**26  # bytes of a segment, unless a row needs more
FEWEST = 16  # segments that the expected bytes are divided into: what is freed is a whole one
NEVER = -1  # newest row in a segment that has none


class CompressedRows:
    """Rows as `MemmapRows` has them, but for their observations, which lie in segments, each row in one block.

    A segment is used again once all of its rows have been overwritten; until then further ones are made. So what is
    there depends on the numbers of rows alone, as without compression.
    """

    def __init__(self, directory: Path, template: TensorDict, rows: int, *, fewest: int, expected_ratio: float) -> None:
        self._observation = template[keys.OBSERVATION]
        places = {key: entry.zeros() for key, entry in PLACE.items()}
        rest = TensorDict({**template.exclude(keys.OBSERVATION), **places})
        self._rows = MemmapRows(directory, rest, rows, fewest=fewest)
        self.max_size, self.fields = self._rows.max_size, self._rows.fields
        size, count = sizes_of(self._observation.nbytes, self.max_size, expected_ratio)
        self._segments = Segments(directory, size=size, count=count)

    def write(self, numbers: Tensor, rows: TensorDict) -> None:
        observations = rows[keys.OBSERVATION].contiguous().numpy()
        blocks = [lz4.block.compress(observation, store_size=False) for observation in observations]
        oldest = int(numbers[-1]) + 1 - self.max_size
        places = [
            self._segments.append(block, number, oldest) for block, number in zip(blocks, numbers.tolist(), strict=True)
        ]
        segment, offset = torch.tensor(places).unbind(1)
        place = {SEGMENT: segment.int(), OFFSET: offset, SIZE: torch.tensor([len(b) for b in blocks]).int()}
        self._rows.write(numbers, rows.exclude(keys.OBSERVATION).update(place))

    def read(self, numbers: Tensor) -> dict[str, Tensor]:
        rows = self._rows.read(numbers)
        places = [rows.pop(key).tolist() for key in (SEGMENT, OFFSET, SIZE)]
        return {keys.OBSERVATION: self._unpack(places, numbers), **rows}

    def column(self, key: str, numbers: Tensor) -> Tensor:
        if key != keys.OBSERVATION:
            return self._rows.column(key, numbers)
        places = [self._rows.column(part, numbers).tolist() for part in (SEGMENT, OFFSET, SIZE)]
        return self._unpack(places, numbers)

    def go_back(self, written: int, ever: int) -> None:
        numbers = torch.arange(max(0, ever - self.max_size), written)
        segment, offset, size = (self._rows.column(key, numbers) for key in (SEGMENT, OFFSET, SIZE))
        newest: dict[int, int] = dict(zip(segment.tolist(), numbers.tolist(), strict=True))
        end = int(offset[-1] + size[-1]) if len(numbers) else 0
        self._segments.go_back(newest, int(segment[-1]) if len(numbers) else 0, end)

    def measures(self, numbers: Tensor) -> dict[str, float]:
        packed = int(self._rows.column(SIZE, numbers).sum())
        return {"replay/compression": len(numbers) * self._observation.nbytes / packed} if packed else {}

    def _unpack(self, places: list[list[int]], numbers: Tensor) -> Tensor:
        """Decompress the blocks at these segments, offsets and sizes, which are those of the rows `numbers` [R]."""
        like = self._observation
        found = torch.empty((len(numbers), *like.shape), dtype=like.dtype)
        into: NDArray[np.uint8] = found.view(-1).view(torch.uint8).numpy().reshape(len(numbers), like.nbytes)
        for row, (segment, offset, size) in enumerate(zip(*places, strict=True)):
            block = self._segments.block(segment, offset, size)
            try:
                into[row] = np.frombuffer(lz4.block.decompress(block, uncompressed_size=like.nbytes), np.uint8)
            except (lz4.block.LZ4BlockError, ValueError) as error:
                where = self._segments.path(segment)
                raise UsageError(f"{where}: damaged, row {int(numbers[row])} cannot be read, {EVALUATE}") from error
        return found


class Segments:
    """Files of bytes, which are filled one after the other and used again when nothing in them is needed any more.

    Args:
        directory: where they are.
        size: bytes of a new one.
        count: how many are made at the start, where there are none.
    """

    def __init__(self, directory: Path, *, size: int, count: int) -> None:
        self._directory, self._size = directory, size
        self._files: list[NDArray[np.uint8]] = []
        while self.path(len(self._files)).exists():
            self._files.append(self._open(self.path(len(self._files))))
        while len(self._files) < count:
            self._make()
        self._newest = [NEVER] * len(self._files)  # row in each
        self._current, self._end = 0, 0  # where the next block goes, if it fits

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return self._directory / f"{keys.OBSERVATION}_{segment:04}.lz4"

    def append(self, block: bytes, number: int, oldest: int) -> tuple[int, int]:
        """Put down the block of row `number`; those before row `oldest` may be lost. Return segment and offset."""
        if self._end + len(block) > len(self._files[self._current]):
            self._current, self._end = self._next(len(block), oldest), 0
        offset, self._end = self._end, self._end + len(block)
        self._files[self._current][offset : self._end] = np.frombuffer(block, np.uint8)
        self._newest[self._current] = number
        return self._current, offset

    def block(self, segment: int, offset: int, size: int) -> NDArray[np.uint8]:
        """Look at a block; raises `UsageError` if it is not there."""
        if not 0 <= segment < len(self._files):
            raise UsageError(f"{self.path(max(segment, 0))}: missing, {EVALUATE}")
        file = self._files[segment]
        if not 0 <= offset < offset + size <= len(file):
            raise UsageError(f"{self.path(segment)}: {len(file)} bytes, fewer than were written, {EVALUATE}")
        return file[offset : offset + size]

    def go_back(self, newest: Mapping[int, int], current: int, end: int) -> None:
        """Have `newest` rows in some segments, nothing in the others, and go on in segment `current` at `end`."""
        known = range(len(self._files))
        self._newest = [newest.get(segment, NEVER) for segment in known]
        self._current, self._end = (current, end) if current in known else (0, 0)

    def _next(self, size: int, oldest: int) -> int:
        """Find a segment in which no row is needed any more, or make one."""
        for segment, newest in enumerate(self._newest):
            if newest < oldest and len(self._files[segment]) >= size and segment != self._current:
                return segment
        self._make()
        self._newest.append(NEVER)
        return len(self._files) - 1

    def _make(self) -> None:
        path = self.path(len(self._files))
        with naming_file(path), open_itself(path, "xb") as file:
            file.truncate(self._size)
        claim(path)
        self._files.append(self._open(path))

    def _open(self, path: Path) -> NDArray[np.uint8]:
        if not path.stat().st_size:
            raise UsageError(f"{path}: empty, {EVALUATE}")
        with open_itself(path, "r+b") as file:
            return np.memmap(file, np.uint8, "r+")


def sizes_of(row: int, rows: int, expected_ratio: float) -> tuple[int, int]:
    """Bytes and count of the segments that `rows` rows with `row` bytes of observations each are expected to need."""
    expected = rows * row / expected_ratio
    bound = row + row // 255 + 16  # of a block, by LZ4
    size = max(bound, min(LARGEST, int(expected / FEWEST)))
    return size, int(expected / size) + 2  # one is being filled, another is only partly needed


def footprint(fields: Mapping[str, Entry], rows: int, expected_ratio: float) -> int:
    """Bytes on disk of `rows` rows with these entries, if observations shrink as expected."""
    observation = fields[keys.OBSERVATION].bytes
    rest = sum(entry.bytes for entry in (*fields.values(), *PLACE.values())) - observation
    size, count = sizes_of(observation, rows, expected_ratio)
    return rest * rows + size * count
