"""Running mean and standard deviation, exact over batches of any size."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and variance of what was seen, per element; buffers in float64 on the CPU, which are the whole state.

    Batches are merged as by Chan, Golub & LeVeque (1983), so no sum of large squares is ever subtracted.

    Args:
        shape: of one value.
        horizon: values to look back over, for what drifts: all before the newest batch count together as at most so
            many, so older ones fade away exponentially. 0 means all, equally.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, shape: tuple[int, ...] = (), *, horizon: int = 0) -> None:
        super().__init__()
        self._horizon = horizon
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(shape, dtype=torch.float64))  # Σ (x − mean)²

    @torch.no_grad()
    def update(self, values: NDArray[np.float64]) -> None:
        """Take in `values` [B, *shape]; nothing happens for B = 0.

        They are a NumPy array: of so few numbers, a call of PyTorch takes several times as long.
        """
        added = len(values)
        if not added:
            return
        count = float(self.count)
        if 0 < self._horizon < count:
            self.squares *= self._horizon / count
            count = float(self._horizon)
        total = count + added
        old, squares = self.mean.numpy(), self.squares.numpy()  # the same memory
        mean = np.add.reduce(values) / added
        delta = mean - old
        squares += np.add.reduce((values - mean) ** 2) + delta**2 * (count * added / total)
        old += delta * (added / total)
        self.count.fill_(int(total))

    @property
    def std(self) -> Tensor:
        """Standard deviation of the values seen (divided by their count), [*shape]; 0 before the first."""
        return (self.squares / max(1.0, float(self.count))).sqrt()
