"""Whether what lies on disk is what a run wrote: rows within their bounds, and those that a checkpoint refers to."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modules import keys
from modules.files import open_itself
from modules.keys import Entry, Spaces
from modules.previous_step import NO_ACTION
from modules.replay.ring import EVALUATE
from modules.replay.rows import LOST, NONE
from modules.replay.storage import RowStorage
from modules.spec import UsageError

MARK = "written"  # file beside the rows
RECORD = np.dtype([("run", "S32"), ("written", "<i8")])
CHUNK = 2**24  # numbers that are looked at together: pictures of a whole replay do not fit the memory


class Mark:
    """How many rows were ever written into a ring, and by which run: a file in memory, like the rows themselves.

    A checkpoint knows what was written before it only. What a killed process wrote after it lies over the oldest rows,
    and says how far back a run can go.

    Args:
        directory: of the ring.
        run: the run's own identity, "" for a run that was begun without one.
        written: rows ever written at most, where there is no mark yet.

    Raises:
        UsageError: the mark is damaged, a link, or that of another run.
    """

    def __init__(self, directory: Path, *, run: str, written: int) -> None:
        self._path = directory / MARK
        if not self._path.exists():
            with open_itself(self._path, "xb") as file:
                file.write(np.array([(run.encode(), written)], RECORD).tobytes())
        if self._path.stat().st_size != RECORD.itemsize:
            raise UsageError(f"{self._path}: damaged, {EVALUATE}")
        with open_itself(self._path, "r+b") as file:
            self._record = np.memmap(file, RECORD, "r+", shape=(1,))
        found = bytes(self._record["run"][0])
        if found != run.encode():
            raise UsageError(f"{directory}: the replay there is that of another run, {EVALUATE}")

    @property
    def written(self) -> int:
        """Rows ever written."""
        return int(self._record["written"][0])

    def advance(self, written: int) -> None:
        """Take note that `written` rows were written; fewer than before change nothing."""
        if written > self.written:
            self._record["written"][0] = written


def refuse_lost_rows(directory: Path, mark: Mark, *, written: int, window: int, ring: int) -> None:
    """Raise `UsageError` if the last `window` of `written` rows are not all in a ring of `ring` rows any more."""
    if written > mark.written:
        raise UsageError(
            f"{directory}: the checkpoint refers to {written} rows, where {max(mark.written, 0)} lie, {EVALUATE}"
        )
    if mark.written - ring > written - window:
        raise UsageError(
            f"{directory}: rows that the checkpoint needs have been overwritten by those after it, {EVALUATE}"
        )


def refuse_impossible_rows(
    storage: RowStorage, entries: Mapping[str, Entry], numbers: Tensor, spaces: Spaces, *, lost: bool
) -> None:
    """Raise `UsageError` if one of the rows `numbers` [R], made of these `entries`, holds what no run writes.

    `lost`: the row before one may be.
    """
    storage.refuse_lost(numbers)
    for key, entry in entries.items():
        if key == keys.OBSERVATION and entry.dtype == torch.uint8:
            continue  # all pixels are possible
        for part in numbers.split(max(1, CHUNK // max(1, prod(entry.shape)))):
            right = possible(key, storage.column(key, part), part, entry, spaces, lost=lost)
            if not right.all():
                wrong = int(part[~right][0])
                raise UsageError(f"{storage.path(key)}: damaged, for row {wrong} holds what no run writes, {EVALUATE}")


def possible(key: str, values: Tensor, numbers: Tensor, entry: Entry, spaces: Spaces, *, lost: bool) -> Tensor:
    """Tell of which of the rows `numbers` [R] an entry's `values` [R, …] are within its bounds, [R]."""
    bounds = {
        keys.ACTION: (0, spaces.n_actions),
        keys.PREVIOUS_ACTION: (NO_ACTION, spaces.n_actions),
        keys.ARM: (0, spaces.n_arms),
    }
    found = values.reshape(len(numbers), prod(entry.shape))
    if key == keys.PREVIOUS_ROW_ID:
        right = (found >= (LOST if lost else NONE)) & (found < numbers[:, None])
    elif entry.dtype == torch.bool:
        right = found <= 1
    elif key in bounds:
        low, high = bounds[key]
        right = (found >= low) & (found.long() < high)
    else:
        right = found.isfinite()
    right = right.all(1)
    return right & (found != 0).any(1) if key == keys.MASK else right


def chain(before: Tensor, number: int, *, oldest: int) -> Iterator[int]:
    """Yield the number of a row, then those of the rows before it in its episode.

    Args:
        before: of each row in the ring, the number of the row before it, [ring].
        number: of the row.
        oldest: number of the first row that is surely there.

    Raises:
        LookupError: a row before it is not there, or what the ring says of it is impossible.
    """
    while number != NONE:
        if number < oldest:
            raise LookupError(number)
        yield number
        found = int(before[number % len(before)])
        if not NONE <= found < number:
            raise LookupError(found)
        number = found
