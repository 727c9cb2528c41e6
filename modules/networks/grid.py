"""Torso for grid worlds: convolutions on the square planes that an observation lays side by side."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torchrl.modules import ConvNet

from modules.keys import Spaces
from modules.networks.torsos import ACTIVATIONS, Activation, TorsoSpec
from modules.spec import Positive, spec


class Planes(nn.Module):
    """Take apart what lies side by side: [..., side, planes·side] of any number type → [..., planes, side, side]."""

    def __init__(self, side: int, planes: int) -> None:
        super().__init__()
        self.side, self.planes = side, planes

    def forward(self, observation: Tensor) -> Tensor:
        """Split the columns."""
        apart = observation.to(torch.float32).unflatten(-1, (self.planes, self.side))
        return apart.movedim(-2, -3)


@spec
class GridSpec(TorsoSpec):
    """Convolutions that keep the planes' size, flattened, then one fully connected layer.

    Attributes:
        channels: filters of each layer.
        kernel: height and width of every layer's kernel, odd; the edge is padded with zeros.
        out_features: size of the embedding.
        activation: behind every layer.
    """

    channels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    kernel: Positive
    out_features: Positive
    activation: Activation

    def fits(self, spaces: Spaces) -> Iterator[str]:
        """Only square planes side by side do."""
        shape = list(spaces.observation_shape)
        if len(shape) != 2 or shape[1] % shape[0]:
            yield f"network/torso=grid needs square planes side by side, but observations are {shape}"
        if self.kernel % 2 == 0:
            yield f"network.torso.kernel={self.kernel} must be odd, so that the planes keep their size"

    def build(self, spaces: Spaces) -> nn.Module:
        """Make the torso for observations [side, planes·side]."""
        side, width = spaces.observation_shape
        act = ACTIVATIONS[self.activation]
        conv = ConvNet(
            in_features=width // side,
            num_cells=list(self.channels),
            kernel_sizes=self.kernel,
            strides=1,
            paddings=self.kernel // 2,
            activation_class=act,
        )
        flat = nn.Linear(self.channels[-1] * side * side, self.out_features)
        return nn.Sequential(Planes(side, width // side), conv, flat, act())
