"""Running mean and standard deviation, exact over batches of any size."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.spec import UsageError

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating]

TINY = 1e-8  # standard deviation of what never changed


def compile_lazily(function: Callable[..., Any]) -> Any:
    """Compile at the first call: IEEE 754, except for the order of sums and fused multiply-adds; 1 / 0 is no error.

    What was compiled is kept beside this file, or in the user's cache: compiling all of it takes two seconds. To import
    Numba takes half of one, and many runs never call.
    """

    @cache
    def compiled() -> Any:
        from numba import njit

        rules = {"error_model": "numpy", "fastmath": {"reassoc", "contract"}}  # infinity and NaN stay what they are
        try:
            return njit(cache=True, **rules)(function)
        except RuntimeError:  # neither place can be written
            return njit(**rules)(function)

    @wraps(function)
    def call(*values: Any) -> Any:
        return compiled()(*values)

    return call


@compile_lazily
def merge(values: Floats, mean: Doubles, squares: Doubles, count: int) -> None:
    """Merge `values`, [B, D] with B > 0, into mean and squares of `count` others (Chan, Golub & LeVeque 1983).

    Both are [D] and updated; the squares are Σ (x − mean)².
    """
    added = len(values)
    own, spread = np.zeros_like(mean), np.zeros_like(mean)
    for i in range(added):
        own += values[i]
    own /= added
    for i in range(added):
        spread += (values[i] - own) ** 2
    delta = own - mean
    squares += spread + delta**2 * (count * added / (count + added))
    mean += delta * (added / (count + added))


@compile_lazily
def whiten(values: Floats, mean: Doubles, std: Doubles, most: float) -> Singles:
    """(x − mean) / std of `values` [B, D], with mean and std > 0 [D], cut off at ±`most`; NaN stays NaN."""
    found = np.empty(values.shape, np.float32)
    for i in range(len(values)):
        for j in range(len(mean)):
            score = (values[i, j] - mean[j]) / std[j]
            if score > most:
                score = most
            elif score < -most:
                score = -most
            found[i, j] = score
    return found


class RunningMoments:
    """Mean and variance of what was seen, per element, in float64 on the CPU.

    Args:
        shape: of one value.
        horizon: values to look back over, for what drifts: all before the newest batch count together as at most so
            many, so older ones fade away exponentially. 0 means all, equally.
    """

    def __init__(self, shape: tuple[int, ...] = (), *, horizon: int = 0) -> None:
        self._horizon = horizon
        self.count = 0
        self.mean = np.zeros(shape)
        self._squares = np.zeros(shape)  # Σ (x − mean)²
        self._news: RunningMoments | None = None  # of what `take` has not given yet

    def tell(self) -> None:
        """Remember apart, from now on, what `update` takes in, for `take`."""
        self._news = RunningMoments(self.mean.shape)

    def take(self) -> dict[str, Tensor]:
        """What `update` took in since the last call, as a state; `tell` must come first."""
        assert self._news is not None
        news, self._news = self._news.state_dict(), RunningMoments(self.mean.shape)
        return news

    def merge(self, taken: Mapping[str, Tensor]) -> None:
        """Take in what others took, as if it had come here in one batch (Chan, Golub & LeVeque 1983)."""
        added = int(taken["count"])
        if not added:
            return
        self._fade()
        delta, share = taken["mean"].numpy() - self.mean, added / (self.count + added)
        self._squares += taken["squares"].numpy() + delta**2 * (self.count * share)
        self.mean += delta * share
        self.count += added

    def _fade(self) -> None:
        """Let all before the next batch count as at most `horizon`."""
        if 0 < self._horizon < self.count:
            self._squares *= self._horizon / self.count
            self.count = self._horizon

    def update(self, values: NDArray[np.floating]) -> None:
        """Take in `values` [B, *shape]; nothing happens for B = 0."""
        added = len(values)
        if not added:
            return
        self._fade()
        if self._news is not None:
            self._news.update(values)
        merge(values.reshape(added, -1), self.mean.reshape(-1), self._squares.reshape(-1), self.count)
        self.count += added

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the values seen (divided by their count), [*shape]; 0 before the first."""
        return np.asarray(np.sqrt(self._squares / max(1, self.count)))

    def whiten(self, values: NDArray[np.floating], most: float) -> NDArray[np.float32]:
        """(x − mean) / std of values [..., *shape], cut off at ±`most`; any change of what never changed is cut off."""
        mean, std = self.mean.reshape(-1), np.maximum(self.std, TINY).reshape(-1)
        return whiten(values.reshape(-1, len(mean)), mean, std, most).reshape(values.shape)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "count": torch.tensor(self.count),
            "mean": torch.from_numpy(self.mean.copy()),
            "squares": torch.from_numpy(self._squares.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` returned; raises `UsageError` if it is of values of another shape."""
        if tuple(state["mean"].shape) != self.mean.shape:
            raise UsageError(
                f"the stored moments are of values of shape {list(state['mean'].shape)}, but the settings say "
                f"{list(self.mean.shape)}: restore the config.yaml that the run was started with"
            )
        self.count = int(state["count"])
        self.mean[...] = state["mean"].numpy()
        self._squares[...] = state["squares"].numpy()
