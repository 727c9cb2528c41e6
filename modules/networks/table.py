"""Tabular Q-learning (Watkins 1989) as a network: an observation is looked up, its row holds the action values."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from modules import keys
from modules.keys import Spaces
from modules.networks.context import PartContext
from modules.networks.heads import HeadSpec
from modules.networks.torsos import TorsoSpec
from modules.spec import Positive, spec

NO_ROW = -1


class TableFullError(RuntimeError):
    """More different observations than the table has rows."""


class Numbering(nn.Module):
    """Numbers observations in the order in which they are first seen.

    Copies of a network share one numbering, or their tables would not fit each other; it travels in `state_dict`.
    In evaluation mode (`eval()`) it does not grow: what is new has no row.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._rows: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Different observations so far."""
        return len(self._rows)

    def __deepcopy__(self, memo: object) -> "Numbering":
        """Share the numbering; the mode is each copy's own."""
        other = Numbering(self.limit)
        other._rows = self._rows
        return other.train(self.training)

    def forward(self, observation: Tensor) -> Tensor:
        """[..., size], flattened observations, → row numbers [..., 1], -1 for none.

        Raises:
            TableFullError: an observation is new and no row is left.
        """
        seen = (observation.detach().cpu() + 0).contiguous().numpy()  # −0 + 0 is 0: other bytes, the same number
        flat = seen.reshape(-1, seen.shape[-1])
        rows = torch.tensor([self._row(entry.tobytes()) for entry in flat], device=observation.device)
        return rows.view(*observation.shape[:-1], 1)

    def _row(self, key: bytes) -> int:
        row = self._rows.get(key)
        if row is None:
            if not self.training:
                return NO_ROW
            if len(self._rows) == self.limit:
                raise TableFullError(
                    f"network.torso.rows={self.limit}: the table has no row for yet another different "
                    "observation; give it more rows, or use network/torso=mlp network/head=q"
                )
            row = self._rows[key] = len(self._rows)
        return row

    def get_extra_state(self) -> Tensor:
        """The observations' bytes in the order of their rows, [rows, bytes]."""
        return torch.tensor([list(key) for key in self._rows], dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over a numbering."""
        self._rows.clear()
        self._rows.update((bytes(key), row) for row, key in enumerate(state.tolist()))


@spec
class TableSpec(TorsoSpec):
    """Look observations up in a table that grows to `rows` at most; needs `network/head=table` and no memory."""

    writes: ClassVar[str] = "row"
    rows: Positive

    @property
    def out_features(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many different embeddings there are."""
        return self.rows

    def fits(self, spaces: Spaces) -> Iterator[str]:
        """Everything does; whether it fits the table shows on the way."""
        del spaces
        yield from ()

    def build(self, spaces: Spaces) -> nn.Module:
        flat = nn.Flatten(-len(spaces.observation_shape))
        return nn.Sequential(flat, Numbering(self.rows))


class Lookup(nn.Module):
    """Rows of action values, all 0 at first."""

    def __init__(self, rows: int, n_actions: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(rows, n_actions))

    def forward(self, row: Tensor) -> dict[str, Tensor]:
        """Row numbers [..., 1] → `action_value` [..., A], 0 where there is no row."""
        return {keys.ACTION_VALUE: self.values[row.squeeze(-1).clamp(min=0)].where(row != NO_ROW, 0.0)}


@spec
class TableHeadSpec(HeadSpec):
    """The table's action values."""

    reads: ClassVar[str] = "row"

    def build(self, context: PartContext) -> Lookup:
        return Lookup(context.in_features, context.spaces.n_actions)
