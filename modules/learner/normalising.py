"""Running mean and deviation of what was observed, handed to every copy of a network that normalises by them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modules.moments import TINY, RunningMoments

MEAN, STD = "observation_mean", "observation_std"


class ObservationStatistics:
    """Mean and deviation per entry of all observations collected so far, exact whoever collected them.

    Args:
        network: has them as buffers `observation_mean` and `observation_std`, or nothing is counted.
        copies: modules with copies of its weights, which get the same.
        until: env frames after which they stay as they are; None: never.
    """

    def __init__(self, network: nn.Module, copies: Iterable[nn.Module], until: int | None) -> None:
        self._until = until
        named = [item for module in (network, *copies) for item in module.state_dict().items()]
        self._means = [value for name, value in named if name.endswith(MEAN)]
        self._stds = [value for name, value in named if name.endswith(STD)]
        self._moments = RunningMoments(tuple(self._means[0].shape)) if self._means else None

    @property
    def counts(self) -> bool:
        """Whether there is anything to count for."""
        return self._moments is not None

    def observe(self, observation: Tensor, frames: int) -> None:
        """Count observations [..., *shape], collected before frame `frames`."""
        moments = self._moments
        if moments is None or (self._until is not None and frames > self._until):
            return
        moments.update(observation.reshape(-1, *moments.mean.shape).to(torch.float32).numpy())
        for values, found in ((self._means, moments.mean), (self._stds, np.maximum(moments.std, TINY))):
            for value in values:
                value.copy_(torch.from_numpy(found))

    def state_dict(self) -> dict[str, Any]:
        return {} if self._moments is None else self._moments.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._moments is not None:
            self._moments.load_state_dict(state)
