"""Observations less their running mean, divided by their running deviation: the first layer of a torso."""

import torch
from torch import Tensor, nn

from modules.keys import Spaces

MOST = 10.0  # deviations at which an entry is cut off: one that was rare would drown all others


class Normalised(nn.Module):
    """Normalises each entry of an observation, then the network.

    The statistics are buffers, so they go where the weights go: into copies, checkpoints and exported policies. Before
    the first observations are counted the mean is 0 and the deviation 1.

    Args:
        network: reads what is normalised, [..., *shape] of float32.
        spaces: of the observations, of which images and allowed actions stay as they are.
    """

    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, network: nn.Module, spaces: Spaces) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("observation_mean", torch.zeros(spaces.observation_shape))
        self.register_buffer("observation_std", torch.ones(spaces.observation_shape))
        self._raw = [place for _, place in spaces.places("image", "mask")]

    def forward(self, observation: Tensor) -> Tensor:
        """[..., *shape] of any number type → [..., out_features]."""
        seen = observation.to(torch.float32)
        scores = ((seen - self.observation_mean) / self.observation_std).clamp(-MOST, MOST)
        for place in self._raw:
            scores[..., place] = seen[..., place]
        return self.network(scores)
