"""How often each cell of an environment's map was visited in the whole training."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from tensordict import TensorDictBase

from modules import keys


class Visits:
    """Counts the cells that the batches name; where there is no map, nothing.

    Every state of an episode counts once: those that were acted from, and the last one. Only the state in which
    a restart of the environments abandons an episode is missing, one for each of them and save.

    Args:
        shape: rows and columns of the map; None if there is none.
    """

    def __init__(self, shape: tuple[int, int] | None) -> None:
        self.counts = torch.zeros(shape or (0, 0), dtype=torch.int64)

    def add(self, batch: TensorDictBase) -> None:
        """Take in a batch [N, T]."""
        if not self.counts.numel():
            return
        last = batch["next", keys.CELL][batch["next", keys.DONE].squeeze(-1)]
        cells = torch.cat((batch[keys.CELL].flatten(), last))
        self.counts += torch.bincount(cells, minlength=prod(self.counts.shape)).view_as(self.counts)

    def state_dict(self) -> dict[str, Any]:
        """The counts, [rows, columns]."""
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.counts.copy_(state["counts"])
