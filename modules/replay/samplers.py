"""Samplers: which rows of a replay are drawn, and what each of them weighs in the loss.

Rows are numbered 0, 1, 2, … in the order written. The last `capacity` of them can be drawn: the window. A number
stays with its row for good, so what is said about a row that has left the window never reaches its successor.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modules.torchrl_internals import SumTree

# No row starves, every importance weight is finite. Far below any error that matters: it does not shape the draws.
PRIORITY_FLOOR = 1e-6


class Sampler:
    """Draws rows of the window, with replacement: each is as likely as any other, and weighs 1."""

    def __init__(self, *, seed: int, capacity: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._capacity = capacity
        self._written = 0

    def __len__(self) -> int:
        """Rows in the window."""
        return min(self._written, self._capacity)

    @property
    def oldest(self) -> int:
        """Number of the window's first row."""
        return self._written - len(self)

    def extend(self, count: int, priorities: Tensor | None = None) -> None:
        """Take note of `count` new rows, with their priorities [count] if those are known."""
        del priorities
        self._written += count

    def draw(self, batch: int, importance: float) -> tuple[Tensor, Tensor]:
        """Draw rows.

        Args:
            batch: number of draws, B.
            importance: exponent β of the importance weights: 0 = none, 1 = undoes the bias of the draws.

        Returns:
            Row numbers [B], int64, and weights [B], float32, of which the largest is 1.
        """
        return torch.randint(self.oldest, self._written, (batch,), generator=self.generator), torch.ones(batch)

    def update(self, rows: Tensor, priorities: Tensor) -> None:
        """Write back the priorities [B] of `rows` [B] that were drawn, if they have any."""

    def masses(self, rows: Tensor) -> tuple[Tensor, float]:
        """What `rows` [B] of the window are drawn in proportion to, [B] of float64, and the sum over the window."""
        return torch.ones(len(rows), dtype=torch.float64), float(len(self))

    def state_dict(self) -> dict[str, Any]:
        """What the next draws depend on."""
        return {"written": self._written, "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was taken: the same draws follow, bit for bit."""
        self._written = state["written"]
        self.generator.set_state(state["generator"])


class Prioritised(Sampler):
    """Proportional prioritisation: P(i) ∝ p_i^exponent, w_i = (N · P(i))^(−β) / max_j w_j over the batch.

    New rows get the priority that their actor gave them. Those that have none, or NaN, get the highest seen so far, at
    first 1, so that each is drawn soon. Row r lies in slot
    r mod capacity of a sum tree in float64, whose sums depend on its leaves only and not on the order of writing.
    Source: Schaul et al. (2016), section 3.3, proportional variant, with a floor instead of an added constant and
    independent instead of stratified draws.
    """

    def __init__(self, *, seed: int, capacity: int, exponent: float) -> None:
        super().__init__(seed=seed, capacity=capacity)
        self._exponent = exponent
        self._highest = 1.0
        self._tree = SumTree(capacity)  # of the masses p^exponent

    def extend(self, count: int, priorities: Tensor | None = None) -> None:
        first = self._written
        slots = torch.arange(first, first + count) % self._capacity
        self._tree[slots] = self._highest**self._exponent
        super().extend(count)
        if priorities is not None:
            known = ~priorities.isnan()
            self.update(torch.arange(first, first + count)[known], priorities[known])

    def draw(self, batch: int, importance: float) -> tuple[Tensor, Tensor]:
        count, oldest = len(self), self.oldest
        if not count:
            raise ValueError("there is no row to draw")
        mass = torch.rand(batch, generator=self.generator, dtype=torch.float64) * self._tree.query(0, self._capacity)
        # Rounding on the way down the tree may lead past the last slot in use.
        slots = self._tree.scan_lower_bound(mass).clamp_(max=count - 1)
        weights = self._masses(slots) ** -importance  # N and the total cancel out against the largest weight
        return oldest + (slots - oldest) % self._capacity, (weights / weights.max()).float()

    def update(self, rows: Tensor, priorities: Tensor) -> None:
        """Write back priorities; of a row that is named twice the last one counts.

        Args:
            rows: numbers of rows that were drawn, [B]; those that have left the window are ignored.
            priorities: finite and ≥ 0, [B]; less than `PRIORITY_FLOOR` counts as that much.

        Raises:
            ValueError: a priority is NaN, infinite or negative, or a row was never written; nothing has changed.
        """
        rows, priorities = rows.cpu(), priorities.detach().to("cpu", torch.float64)
        if rows.shape != priorities.shape:
            raise ValueError(f"{list(priorities.shape)} priorities for {list(rows.shape)} rows")
        valid = priorities.isfinite() & (priorities >= 0)
        if not valid.all():
            raise ValueError(f"priorities must be finite and >= 0, not {priorities[~valid][0].item()}")
        if (rows >= self._written).any():
            raise ValueError(f"row {rows.max().item()} was never written: there are {self._written}")
        kept = rows >= self.oldest
        rows, priorities = rows[kept], priorities[kept].clamp_min(PRIORITY_FLOOR)
        if len(rows):
            self._tree[rows % self._capacity] = priorities**self._exponent
            self._highest = max(self._highest, priorities.max().item())

    def masses(self, rows: Tensor) -> tuple[Tensor, float]:
        return self._masses(rows % self._capacity), float(self._tree.query(0, self._capacity))

    def state_dict(self) -> dict[str, Any]:
        """What the next draws depend on; the window's masses p^exponent, oldest row first, 8 bytes each."""
        return super().state_dict() | {"highest": self._highest, "masses": self._masses(self._slots())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was taken.

        Raises:
            ValueError: the state is that of a sampler with another capacity, or of none; nothing has changed.
        """
        masses = torch.as_tensor(state["masses"], dtype=torch.float64).reshape(-1)  # once, one was saved as a number
        count = min(state["written"], self._capacity)
        if len(masses) != count:
            raise ValueError(f"priorities of {len(masses)} rows do not fit a window of {count}")
        if not all((values.isfinite() & (values > 0)).all() for values in (masses, torch.tensor(state["highest"]))):
            raise ValueError("priorities must be finite and > 0")
        super().load_state_dict(state)
        self._highest = state["highest"]
        self._tree = SumTree(self._capacity)
        self._tree[self._slots()] = masses

    def _masses(self, slots: Tensor) -> Tensor:
        """Masses in `slots` [n]; of a single one, the tree itself gives a number."""
        return torch.as_tensor(self._tree[slots], dtype=torch.float64).reshape(slots.shape)

    def _slots(self) -> Tensor:
        """Slots of the window, oldest row first."""
        return torch.arange(self.oldest, self._written) % self._capacity
