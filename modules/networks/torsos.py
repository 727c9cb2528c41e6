"""Torsos: observation → embedding."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from modules.keys import Part, Spaces
from modules.networks.parts import Beside, Taken, image_spaces
from modules.spec import Positive, PositiveFloat, Spec, spec

Init = Literal["default", "glorot"]
Norm = Literal["none", "layer"]


class LeakyReLU(nn.LeakyReLU):
    """max(x, 0.3 x): Keras' slope; PyTorch's is 0.01."""

    def __init__(self) -> None:
        super().__init__(negative_slope=0.3)


# PyTorch's under the names of torch.nn.functional, all that turn one number into one and need no further setting. Not
# rrelu, which draws its slopes again at each call: replayed values would not be those of acting.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "leaky_relu": LeakyReLU,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}
Activation = Literal[
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
]


def dense(
    sizes: Sequence[int], activation: type[nn.Module], *, bias: bool, norm: Norm = "none", ends: bool = False
) -> nn.Sequential:
    """Make fully connected layers, the first of which reads `sizes[0]` numbers.

    The activation follows each but the last, and that too if the network `ends` with one; the norm comes before it.
    The layers are those of TorchRL's `MLP`, so that weights fit both; it takes seconds to import, and acting does not.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(sizes), 2):
        layers.append(nn.Linear(before, after, bias=bias))
        if number < len(sizes) or ends:
            layers += [nn.LayerNorm(after)] if norm == "layer" else []
            layers.append(activation())
    return nn.Sequential(*layers)


@torch.no_grad()
def initialise_(layers: nn.Module, init: Init) -> None:
    """Set the weights of linear `layers` again: `default` leaves them as PyTorch made them.

    `glorot` draws weights uniformly from ±√(6 / (inputs + outputs)) and sets biases to 0, as Keras does (Glorot &
    Bengio 2010, equation 16).
    """
    linear = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)] if init == "glorot" else []
    for layer in linear:
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            layer.bias.zero_()


class TorsoSpec(Spec):
    """Settings of a torso; `build` makes a module, observation [..., *shape] → features [..., out_features].

    `writes` says what that is; a head must read the same, and a memory must be able to. Where an observation holds
    images beside vectors, a torso that reads images is built once for each of them, and the vectors join what those
    give; any other reads all of it as one vector.
    """

    writes: ClassVar[str] = "features"
    out_features: int

    def problems(self, spaces: Spaces) -> Iterator[str]:
        """Say why `make` cannot read these observations; nothing if it can."""
        if not self._looks_at(spaces):
            yield from self.fits(spaces)

    def size(self, spaces: Spaces) -> int:
        """Number of features that `make` gives of these observations."""
        images = self._looks_at(spaces)
        if not images:
            return self.out_features
        return self.out_features * len(images) + sum(prod(part.shape) for part, _ in spaces.places("vector"))

    def make(self, spaces: Spaces) -> nn.Module:
        """Make what reads these observations, whatever they are made of."""
        images = self._looks_at(spaces)
        if not images:
            seen = [place for _, place in spaces.places("vector", "image")]
            size = sum(place.stop - place.start for place in seen)
            flat = replace(spaces, observation_shape=(size,), parts=()) if spaces.allowed else spaces
            body = self.build(flat)
            return Taken(body, seen) if spaces.allowed else body
        bodies = [(self.build(image_spaces(part)), part, place) for part, place in images]
        return Beside(bodies, [place for _, place in spaces.places("vector")])

    def _looks_at(self, spaces: Spaces) -> list[tuple[Part, slice]]:
        """List the images among the parts if each of them fits."""
        images = spaces.places("image")
        return [] if any(problem for part, _ in images for problem in self.fits(image_spaces(part))) else images

    def build(self, spaces: Spaces) -> nn.Module:
        """Make the torso for these observations."""
        raise NotImplementedError

    def fits(self, spaces: Spaces) -> Iterator[str]:
        """Say why the torso cannot read these observations; nothing if it can."""
        raise NotImplementedError


class AsFloats(nn.Module):
    """Turn observations of any number type into floats, then the network."""

    def __init__(self, network: nn.Module, axes: int = 1) -> None:
        super().__init__()
        self.network, self.axes = network, axes  # that are flattened

    def forward(self, observation: Tensor) -> Tensor:
        """[..., *shape] of any number type → [..., out_features]."""
        flat = observation.to(torch.float32).flatten(-self.axes)
        return self.network(flat.contiguous())  # of a slice of steps the product takes twice as long


class Scaled(nn.Module):
    """Turn raw observations into floats near 0: (x − offset) · scale, then the network."""

    def __init__(self, network: nn.Module, *, offset: float, scale: float) -> None:
        super().__init__()
        self.network, self.offset, self.scale = network, offset, scale

    def forward(self, observation: Tensor) -> Tensor:
        """[..., *shape] of any number type → [..., out_features]."""
        scaled = observation.to(torch.float32, copy=True)  # in place from here: fresh memory costs more than arithmetic
        return self.network(scaled.sub_(self.offset).mul_(self.scale))


@spec
class MlpSpec(TorsoSpec):
    """Fully connected layers on flattened observations; an activation follows each, the last included.

    Attributes:
        out_features: size of the embedding.
        hidden: sizes of the layers before it.
        activation: behind every layer; leaky_relu has Keras' slope 0.3, prelu learns one slope per layer.
        norm: layer: what each layer puts out is normalised before its activation (Ba et al. 2016); none: it is not.
        bias: whether the layers have biases.
        init: how weights begin: default (PyTorch's) or glorot (Keras').
    """

    out_features: Positive
    hidden: tuple[Positive, ...]
    activation: Activation
    norm: Norm
    bias: bool
    init: Init

    def fits(self, spaces: Spaces) -> Iterator[str]:
        """All but images do."""
        if spaces.is_image:
            shape = list(spaces.observation_shape)
            yield f"network/torso=mlp needs vectors or grids, but observations are {shape}: use network/torso=conv"

    def build(self, spaces: Spaces) -> nn.Module:
        act = ACTIVATIONS[self.activation]
        sizes = (spaces.observation_size, *self.hidden, self.out_features)
        mlp = dense(sizes, act, bias=self.bias, norm=self.norm, ends=True)
        initialise_(mlp, self.init)
        axes = len(spaces.observation_shape)
        return AsFloats(nn.Sequential(nn.Flatten(-1), mlp) if axes == 2 else mlp, axes)  # as saved weights are named


class Pool(nn.Sequential):
    """Average over the image: [..., C, H, W] → [..., C]."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(-3))


@spec
class ConvSpec(TorsoSpec):
    """Convolutions on `uint8` images [C, H, W], flattened, then one fully connected layer.

    Attributes:
        channels: filters of each layer.
        kernels: height and width of each layer's kernel.
        strides: vertical and horizontal step of each layer's kernel.
        pool: average each filter over the whole image before the fully connected layer; loses where things are.
        out_features: size of the embedding.
        activation: behind every layer.
        background: grey value that becomes 0; an empty scene then excites no unit.
        gain: what full contrast becomes; thin objects on an empty scene need more than 1 to be seen early.
    """

    channels: tuple[Positive, ...]
    kernels: tuple[tuple[Positive, Positive], ...]
    strides: tuple[tuple[Positive, Positive], ...]
    pool: bool
    out_features: Positive
    activation: Activation
    background: Annotated[int, Field(ge=0, le=255)]
    gain: PositiveFloat

    def fits(self, spaces: Spaces) -> Iterator[str]:
        """Only images do that are larger than what the kernels and strides take away."""
        shape = list(spaces.observation_shape)
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            yield "network.torso: channels, kernels and strides must have one entry per layer each"
        elif not spaces.is_image:
            what = f"but observations are {shape}"
            yield f"network/torso=conv needs uint8 images [C, H, W], {what}: use network/torso=mlp"
        elif min(self.output_size(*shape[1:])) < 1:
            yield f"network.torso: images of {shape} are too small for these kernels and strides"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width behind the last convolution; not positive if the image is too small."""
        for (kh, kw), (sh, sw) in zip(self.kernels, self.strides, strict=True):
            height, width = (height - kh) // sh + 1, (width - kw) // sw + 1
            if min(height, width) < 1:
                return 0, 0
        return height, width

    def build(self, spaces: Spaces) -> nn.Module:
        """Make the torso for images of `spaces.observation_shape` = [C, H, W]."""
        from torchrl.modules import ConvNet  # which takes seconds to import

        depth, height, width = spaces.observation_shape
        act = ACTIVATIONS[self.activation]
        pooling = {"aggregator_class": Pool, "aggregator_kwargs": {}} if self.pool else {}
        conv = ConvNet(
            in_features=depth,
            num_cells=list(self.channels),
            kernel_sizes=list(self.kernels),  # pyright: ignore[reportArgumentType]
            strides=list(self.strides),  # pyright: ignore[reportArgumentType]
            activation_class=act,
            **pooling,
        )
        rows, columns = (1, 1) if self.pool else self.output_size(height, width)
        flat = nn.Linear(self.channels[-1] * rows * columns, self.out_features)
        conv = conv.to(memory_format=torch.channels_last)  # an update on a CPU takes about half of the time
        body = nn.Sequential(conv, flat, act())
        return Scaled(body, offset=float(self.background), scale=self.gain / 255)
