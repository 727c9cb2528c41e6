"""Networks of the same form with weights of their own, evaluated side by side."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modules.networks.torsos import ACTIVATIONS, Scaled

Weights = Mapping[str, Tensor]
Layer = Callable[[Tensor], Tensor]
WITHOUT_WEIGHTS = (nn.Flatten, *ACTIVATIONS.values())  # they do the same to each environment


def stacked(form: nn.Module, weights: Weights) -> Layer:
    """Make [N, *shape] → [N, …], row i by `form` with the weights i.

    Linear layers and activations are called one after the other, everything else through vmap, which gives the same
    numbers but takes longer to find the calls than small networks take to compute.

    Args:
        form: what to compute; its own weights are not read.
        weights: by their names in `form`, [N, …] each; changes in place count.
    """
    layers = list(plain(form, "", weights))
    if None not in layers:
        return lambda x: in_turn(layers, x)

    def one(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(form, weights, (x,))

    return lambda x: torch.vmap(one)(dict(weights), x.unsqueeze(1)).squeeze(1)


def in_turn(layers: list[Layer | None], x: Tensor) -> Tensor:
    """Call the layers on [N, 1, …]."""
    x = x.unsqueeze(1)
    for layer in layers:
        assert layer is not None
        x = layer(x)
    return x.squeeze(1)


def plain(module: nn.Module, name: str, weights: Weights) -> Iterator[Layer | None]:
    """The layers of a module, named `name` in front of its weights; None for one that must go through vmap."""
    if isinstance(module, nn.Sequential):
        for part, child in module.named_children():
            yield from plain(child, f"{name}{part}.", weights)
    elif isinstance(module, Scaled):
        as_it_is = module.offset == 0 and module.scale == 1
        yield torch.Tensor.float if as_it_is else Scaled(nn.Identity(), offset=module.offset, scale=module.scale)
        yield from plain(module.network, f"{name}network.", weights)
    elif isinstance(module, nn.Linear) and module.bias is not None:
        weight, bias = weights[f"{name}weight"].mT, weights[f"{name}bias"].unsqueeze(1)
        yield lambda x: torch.baddbmm(bias, x, weight)
    else:
        yield module if isinstance(module, WITHOUT_WEIGHTS) else None
