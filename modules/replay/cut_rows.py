"""Rows on their way to the replay, with observations as they are or compressed, and as bytes."""

import pickle
from typing import Any, NamedTuple, Self

import lz4.block
import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torch import Tensor

from modules import keys


class Blocks(NamedTuple):
    """Observations, each row's compressed by LZ4.

    Attributes:
        packed: a block for each row.
        like: no rows of such observations, [0, …].
    """

    packed: list[bytes]
    like: Tensor


class CutRows(NamedTuple):
    """Rows [R] that were cut.

    Attributes:
        entries: all of them, or all but the observations.
        blocks: these, compressed.
    """

    entries: TensorDict
    blocks: Blocks | None = None

    def whole(self) -> TensorDict:
        """All entries, [R]; raises `ValueError` for a damaged block."""
        if self.blocks is None:
            return self.entries
        packed, like = self.blocks
        observations = like.new_empty((len(packed), *like.shape[1:]))
        for block, into in zip(packed, bytes_of(observations), strict=True):
            decompress(block, into)
        return self.entries.copy().set(keys.OBSERVATION, observations)

    def in_blocks(self) -> tuple[TensorDict, Blocks]:
        """All entries but the observations, [R], and these."""
        if self.blocks is not None:
            return self.entries, self.blocks
        observations = self.entries[keys.OBSERVATION].contiguous()
        packed = [lz4.block.compress(observation, store_size=False) for observation in observations.numpy()]
        return self.entries.exclude(keys.OBSERVATION), Blocks(packed, observations[:0])

    def pack(self) -> bytes:
        """The same as bytes; observations of whole numbers are compressed."""
        entries, blocks = self
        if blocks is None and entries[keys.OBSERVATION].dtype == torch.uint8:
            entries, blocks = self.in_blocks()
        arrays = {key: value.contiguous().numpy() for key, value in entries.items()}
        return pickle.dumps((arrays, None if blocks is None else (blocks.packed, blocks.like.numpy())))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What was packed; what was compressed still is."""
        arrays, blocks = pickle.loads(packed)
        entries = {key: torch.from_numpy(array) for key, array in arrays.items()}
        rows = TensorDict(entries, batch_size=[len(entries[keys.MASK])])
        return cls(rows, None if blocks is None else Blocks(blocks[0], torch.from_numpy(blocks[1])))


def decompress(block: bytes, into: NDArray[np.uint8]) -> None:
    """Write what a block holds `into` the bytes of one row; raises `ValueError` if it is damaged."""
    try:
        into[:] = np.frombuffer(lz4.block.decompress(block, uncompressed_size=into.nbytes), np.uint8)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"a damaged block: {error}") from error


def bytes_of(rows: Tensor) -> NDArray[Any]:
    """The memory of contiguous `rows` [R, …], uint8 [R, bytes of each]."""
    return rows.view(-1).view(torch.uint8).numpy().reshape(len(rows), rows[:1].numel() * rows.itemsize)
