"""Torso for grid worlds: convolutions on the planes of an observation."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from modules.keys import Spaces
from modules.networks.torsos import ACTIVATIONS, Activation, TorsoSpec
from modules.spec import Positive, spec


class SideBySide(nn.Module):
    """Take apart what lies side by side: [..., side, planes·side] of any number type → [..., planes, side, side]."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes

    def forward(self, observation: Tensor) -> Tensor:
        """Split the columns."""
        apart = observation.to(torch.float32).unflatten(-1, (self.planes, -1))
        return apart.movedim(-2, -3)


class PlanesFirst(nn.Module):
    """Grids of any number type with their planes at an `axis` → [..., planes, height, width]."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, observation: Tensor) -> Tensor:
        """Move the planes to the front."""
        return observation.to(torch.float32).movedim(self.axis - 3, -3)


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
        """Grids do: one plane, square planes side by side, or planes along the first or last of three axes."""
        shape = list(spaces.observation_shape)
        if spaces.planes is None and len(shape) != 2:
            use = "conv" if spaces.is_image else "mlp"
            yield f"network/torso=grid needs grids, but observations are {shape}: use network/torso={use}"
        if self.kernel % 2 == 0:
            yield f"network.torso.kernel={self.kernel} must be odd, so that the planes keep their size"

    def build(self, spaces: Spaces) -> nn.Module:
        """Make the torso for observations [height, width], [side, planes·side] or with three axes."""
        from torchrl.modules import ConvNet  # which takes seconds to import

        first, planes, size = self._planes(spaces)
        act = ACTIVATIONS[self.activation]
        conv = ConvNet(
            in_features=planes,
            num_cells=list(self.channels),
            kernel_sizes=self.kernel,
            strides=1,
            paddings=self.kernel // 2,
            activation_class=act,
        )
        flat = nn.Linear(self.channels[-1] * size, self.out_features)
        return nn.Sequential(first, conv, flat, act())

    @staticmethod
    def _planes(spaces: Spaces) -> tuple[nn.Module, int, int]:
        """What brings the planes to the front, how many they are, and the cells of one."""
        shape = spaces.observation_shape
        if spaces.planes is not None:
            planes = shape[spaces.planes]
            return PlanesFirst(spaces.planes), planes, spaces.observation_size // planes
        height, width = shape
        planes = 1 if width % height else width // height
        return SideBySide(planes), planes, height * width // planes
