"""Where rows lie on disk: as they are, or compressed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from tensordict import TensorDict
from torch import Tensor

from modules import keys
from modules.keys import Spaces
from modules.metrics import Metric
from modules.replay.cut_rows import CutRows, bytes_of, decompress
from modules.replay.ring import open_ring, views_of
from modules.replay.rows import SequenceSchema
from modules.spec import AtLeastOne, Spec, spec


class RowStorage(Protocol):
    """Rows by their number, those of the last `max_size` that were written."""

    max_size: int

    @property
    def fields(self) -> Mapping[str, Tensor]:
        """The entries that lie in one file each as they are, [max_size, …]; row r is at r mod `max_size`."""
        ...

    def write(self, numbers: Tensor, rows: CutRows) -> None:
        """Write `rows` [R] over the oldest ones; their `numbers` [R] go on from the newest."""
        ...

    def read(self, numbers: Tensor) -> dict[str, Tensor]:
        """Copy all entries of the rows `numbers` [R]."""
        ...

    def column(self, key: str, numbers: Tensor) -> Tensor:
        """Copy one entry of the rows `numbers` [R]; raises `UsageError` if it cannot be read."""
        ...

    def refuse_lost(self, numbers: Tensor) -> None:
        """Raise `UsageError` if bytes of the rows `numbers` [R] are not there; their content is not checked."""
        ...

    def path(self, key: str) -> Path:
        """The file of an entry, or the first of them."""
        ...

    def go_back(self, written: int, ever: int) -> None:
        """Forget all rows from number `written` on.

        `ever` rows were written at most, so that rows before `ever − max_size` are lost.
        """
        ...

    def measures(self, numbers: Tensor) -> dict[str, float]:
        """Metrics of the rows `numbers` [R]."""
        ...


@dataclass(frozen=True, kw_only=True)
class StorageContext:
    """What a storage may need.

    Attributes:
        directory: its own.
        template: one row.
        rows: that it has room for, if it is not there yet.
        fewest: that it must have room for, if it is there; then it keeps its size.
    """

    directory: Path
    template: TensorDict
    rows: int
    fewest: int


class StorageSpec(Spec):
    """Settings of where rows lie."""

    def build(self, context: StorageContext) -> RowStorage:
        """Open what is in the context's directory, or make it there.

        Raises:
            UsageError: it does not fit, is damaged, or there is no room.
        """
        raise NotImplementedError

    def footprint(self, spaces: Spaces, schema: SequenceSchema, rows: int) -> int:
        """Bytes on disk of `rows` rows."""
        raise NotImplementedError

    @property
    def assumption(self) -> str:
        """Words that follow the footprint in the log: what it holds for."""
        return "at most"


@spec
class MemmapSpec(StorageSpec):
    """Rows as they are, in memory-mapped files."""

    def build(self, context: StorageContext) -> "MemmapRows":
        return MemmapRows(context)

    def footprint(self, spaces: Spaces, schema: SequenceSchema, rows: int) -> int:
        return schema.row_bytes(spaces) * rows


@spec
class CompressedSpec(StorageSpec):
    """Observations compressed by LZ4, row by row; everything else as it is.

    Draws and rows are those of `memmap`, bit for bit.

    Attributes:
        expected_ratio: bytes of observations over their compressed bytes, for which disk is set aside at the start. If
            they shrink less, the replay takes more.
    """

    metrics = (Metric("replay/compression", "ratio", "bytes of the stored observations / their compressed bytes"),)

    expected_ratio: AtLeastOne

    def build(self, context: StorageContext) -> RowStorage:
        from modules.replay.compressed import CompressedRows  # with its library

        return CompressedRows(context, self.expected_ratio)

    def footprint(self, spaces: Spaces, schema: SequenceSchema, rows: int) -> int:
        from modules.replay.compressed import footprint

        return footprint(schema.fields(spaces), rows, self.expected_ratio)

    @property
    def assumption(self) -> str:
        return f"if observations shrink to 1/{self.expected_ratio:g} (replay.storage.expected_ratio)"


class MemmapRows:
    """Rows as they are; one memory-mapped file per entry."""

    def __init__(self, context: StorageContext) -> None:
        self._directory = context.directory
        self._storage = open_ring(context.directory, context.template, context.rows, fewest=context.fewest)
        self.max_size = self._storage.max_size
        self.fields: Mapping[str, Tensor] = views_of(self._storage)

    def write(self, numbers: Tensor, rows: CutRows) -> None:
        first, count = int(numbers[0]) % self.max_size, len(numbers)
        room = self.max_size - first
        plain = self.fields.keys() - ({keys.OBSERVATION} if rows.blocks is not None else set())
        for key in plain:  # in one piece: by an index it takes five times as long
            field = self.fields[key]
            values = rows.entries[key]
            field[first : first + count] = values[:room]
            if count > room:
                field[: count - room] = values[room:]
        if rows.blocks is not None:  # straight into the file: pictures of a row are a MB, and a copy of them counts
            places = bytes_of(self.fields[keys.OBSERVATION])
            for place, block in zip((numbers % self.max_size).tolist(), rows.blocks.packed, strict=True):
                decompress(block, places[place])

    def read(self, numbers: Tensor) -> dict[str, Tensor]:
        index = numbers % self.max_size
        return {key: field.index_select(0, index) for key, field in self.fields.items()}

    def column(self, key: str, numbers: Tensor) -> Tensor:
        field = self.fields[key]
        values = field.view(torch.uint8) if field.dtype == torch.bool else field  # a byte may be neither 0 nor 1
        return values[numbers % self.max_size]

    def refuse_lost(self, numbers: Tensor) -> None:
        """The files had their full size when they were opened."""

    def path(self, key: str) -> Path:
        return self._directory / f"{key}.memmap"

    def go_back(self, written: int, ever: int) -> None:
        """Row r is always at r mod `max_size`."""

    def measures(self, numbers: Tensor) -> dict[str, float]:
        return {}
