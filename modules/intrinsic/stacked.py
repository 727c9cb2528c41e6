"""Networks of the same form with weights of their own, evaluated side by side."""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torchrl.modules.models.utils import SquashDims

from modules.networks.torsos import ACTIVATIONS, AsFloats, Scaled

Weights = Mapping[str, Tensor]
Layer = Callable[[Tensor], Tensor]
ELEMENTWISE = tuple(act for act in ACTIVATIONS.values() if act is not nn.PReLU)  # the only one that learns
WITHOUT_WEIGHTS = (nn.Flatten, SquashDims, *ELEMENTWISE)  # they do the same to each environment


def stack_layers(form: nn.Module, weights: Weights) -> Layer:
    """Make [N, B, *shape] → [N, B, …], row i by `form` with the weights i.

    Linear layers, convolutions and activations are called one after the other; networks with anything else go through
    vmap, which gives the same numbers but takes longer to find the calls than small networks take to compute.

    Args:
        form: what to compute; its own weights are not read.
        weights: by their names in `form`, [N, …] each; changes in place count.
    """
    layers = list(plain(form, "", weights))
    known = [layer for layer in layers if layer is not None]
    if len(known) == len(layers):
        return lambda x: reduce(lambda value, layer: layer(value), known, x)

    def one(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(form, weights, (x,))

    return lambda x: torch.vmap(one)(dict(weights), x)


def in_groups(form: nn.Conv2d, weight: Tensor, bias: Tensor) -> Layer:
    """Convolve [N, B, C, H, W], row i with `weight` i, as one convolution whose channels lie in N groups."""
    weight, bias = weight.flatten(0, 1), bias.flatten(0, 1)

    def call(x: Tensor) -> Tensor:
        n, side_by_side = len(x), x.transpose(0, 1).flatten(1, 2)
        found = F.conv2d(side_by_side, weight, bias, form.stride, form.padding, form.dilation, groups=n)
        return found.unflatten(1, (n, -1)).transpose(0, 1)

    return call


def plain(module: nn.Module, name: str, weights: Weights) -> Iterator[Layer | None]:
    """The layers of a module, named `name` in front of its weights; None for one that must go through vmap."""
    if isinstance(module, nn.Sequential):
        for part, child in module.named_children():
            yield from plain(child, f"{name}{part}.", weights)
    elif isinstance(module, AsFloats):
        yield AsFloats(nn.Identity(), module.axes)
        yield from plain(module.network, f"{name}network.", weights)
    elif isinstance(module, Scaled):
        yield Scaled(nn.Identity(), offset=module.offset, scale=module.scale)
        yield from plain(module.network, f"{name}network.", weights)
    elif isinstance(module, nn.Linear) and module.bias is not None:
        weight, bias = weights[f"{name}weight"].mT, weights[f"{name}bias"].unsqueeze(1)
        yield lambda x: torch.baddbmm(bias, x, weight)
    elif isinstance(module, nn.Conv2d) and module.bias is not None and module.groups == 1:
        yield in_groups(module, weights[f"{name}weight"], weights[f"{name}bias"])
    elif isinstance(module, nn.PReLU) and module.num_parameters == 1:
        slope = weights[f"{name}weight"]  # [N, 1]
        yield lambda x: torch.where(x > 0, x, slope.view(-1, *[1] * (x.dim() - 1)) * x)
    else:
        yield module if isinstance(module, WITHOUT_WEIGHTS) else None
