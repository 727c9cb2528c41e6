"""All that Recall uses of TorchRL 0.14 without it being public, each with the reason."""

from typing import Any

from tensordict import TensorDict
from torchrl._torchrl import SumSegmentTreeFp64
from torchrl.collectors import Collector
from torchrl.data import LazyMemmapStorage
from torchrl.envs import EnvBase

# TorchRL's prioritised samplers hide the tree, and have no float64, no floor and no state that fits a ring on disk.
SumTree = SumSegmentTreeFp64


class Waiting(Collector):
    """TorchRL's collector, but it does not reset the environments when it is made: each reset begins an episode."""

    def _make_carrier(self) -> None:
        blank = self.env.fake_tensordict().exclude("next", *self.env.action_keys)
        self._carrier = blank.clear_device_()
        self._carrier_has_no_device = True  # as TorchRL has it where, as here, no device is asked for


def fields_in(storage: LazyMemmapStorage) -> TensorDict:
    """The entries of a storage, [rows, …], to which it has no public way."""
    found: Any = storage._storage
    return found


def adopt(storage: LazyMemmapStorage, fields: TensorDict) -> None:
    """Let a storage have `fields`, which are on disk already; its own loader follows what a file says, to a pickle."""
    storage._storage, storage.initialized, storage._len = fields, True, len(fields)


def wrapped_by(env: EnvBase) -> Any:
    """What TorchRL's wrapper of an environment wraps, which it does not hand out."""
    inner: Any = env
    return inner._env
