"""Flat observations that hold images and vectors one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modules.keys import Part, Spaces


def image_spaces(part: Part) -> Spaces:
    """Spaces of an image alone, [C, H, W]."""
    height, width = (size for axis, size in enumerate(part.shape) if axis != part.channels)
    return Spaces(
        observation_shape=(part.shape[part.channels], height, width), observation_dtype=torch.uint8, n_actions=1
    )


class Taken(nn.Module):
    """Take `places` of a flat observation, then the network."""

    def __init__(self, network: nn.Module, places: Sequence[slice]) -> None:
        super().__init__()
        self.network, self._places = network, places

    def forward(self, observation: Tensor) -> Tensor:
        """[..., all] → [..., out_features]."""
        return self.network(torch.cat([observation[..., place] for place in self._places], -1))


class Beside(nn.Module):
    """Each image of a flat observation through a torso of its own, and the vectors as they are, side by side."""

    def __init__(self, images: Sequence[tuple[nn.Module, Part, slice]], vectors: Sequence[slice]) -> None:
        super().__init__()
        self.torsos = nn.ModuleList([torso for torso, _, _ in images])
        self._images = [(part, place) for _, part, place in images]
        self._vectors = vectors

    def forward(self, observation: Tensor) -> Tensor:
        """[..., all] → [..., features]."""
        features = []
        for torso, (part, place) in zip(self.torsos, self._images, strict=True):
            image = observation[..., place].unflatten(-1, part.shape)
            features.append(torso(image.movedim(part.channels - 3, -3)))
        return torch.cat([*features, *(observation[..., place].to(torch.float32) for place in self._vectors)], -1)
