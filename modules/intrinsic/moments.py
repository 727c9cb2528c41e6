"""Running mean and standard deviation, exact over batches of any size."""

import torch
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and variance of what was seen, per element; buffers in float64, which are the whole state.

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
    def update(self, values: Tensor) -> None:
        """Take in `values` [B, *shape]; nothing happens for B = 0."""
        added = len(values)
        if not added:
            return
        count = float(self.count)  # numbers: tensors of one element take longer, and integers are converted each time
        if 0 < self._horizon < count:
            self.squares *= self.count.new_tensor(self._horizon) / self.count
            count = float(self._horizon)
        total = count + added
        values = values.double()
        mean = values.mean(0)
        delta = mean - self.mean
        self.squares += (values - mean).square().sum(0) + delta.square() * count * float(added) / total
        self.mean += delta * float(added) / total
        self.count.fill_(int(total))

    @property
    def std(self) -> Tensor:
        """Standard deviation of the values seen (divided by their count), [*shape]; 0 before the first."""
        return (self.squares / max(1.0, float(self.count))).sqrt()
