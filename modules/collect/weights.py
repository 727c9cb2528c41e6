"""What a copy of a network must be given to act as it does."""

import torch
from torch import Tensor, nn


def floats_of(*networks: nn.Module) -> list[Tensor]:
    """List parameters, and buffers such as statistics of observations, without gradient, one network after another."""
    found: list[Tensor] = []
    for network in networks:
        found += [p.detach() for p in network.parameters()]
        found += [b for b in network.buffers() if b.is_floating_point()]
    return found


def push_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy them between networks of the same shape, across devices if need be."""
    torch._foreach_copy_(floats_of(target), floats_of(source))  # pyright: ignore[reportPrivateImportUsage]
