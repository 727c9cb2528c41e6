"""Rows as bytes, for their way from an actor to the learner."""

import pickle
from math import prod
from typing import Any

import lz4.block
import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict

from modules import keys


def pack(rows: TensorDict) -> bytes:
    """Pack rows [R]; observations of whole numbers, row by row, by LZ4."""
    arrays: dict[str, NDArray[Any]] = {str(key): value.contiguous().numpy() for key, value in rows.items()}
    seen = arrays[keys.OBSERVATION]
    if seen.dtype != np.uint8:
        return pickle.dumps((arrays, None))
    arrays[keys.OBSERVATION] = seen[:0]
    return pickle.dumps((arrays, [lz4.block.compress(row, store_size=False) for row in seen]))


def unpack(packed: bytes | None) -> TensorDict | None:
    """Rows [R] as `pack` took them; None where the actor has cut none."""
    if packed is None:
        return None
    arrays, blocks = pickle.loads(packed)
    if blocks is not None:
        shape = arrays[keys.OBSERVATION].shape[1:]
        size = prod(shape)
        seen = np.empty((len(blocks), size), np.uint8)
        for number, block in enumerate(blocks):
            seen[number] = np.frombuffer(lz4.block.decompress(block, uncompressed_size=size), np.uint8)
        arrays[keys.OBSERVATION] = seen.reshape(len(blocks), *shape)
    rows = {key: torch.from_numpy(array) for key, array in arrays.items()}
    return TensorDict(rows, batch_size=[len(rows[keys.MASK])])
