"""What a copy of a network must be given to act as it does."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def floats_of(*networks: nn.Module) -> list[Tensor]:
    """List parameters, and buffers such as statistics of observations, without gradient, one network after another."""
    found: list[Tensor] = []
    for network in networks:
        found += [p.detach() for p in network.parameters()]
        found += [b for b in network.buffers() if b.is_floating_point()]
    return found


def as_vector(weights: Sequence[Tensor]) -> Tensor:
    """Put weights, whatever their layout in memory, one after the other."""
    return torch.cat([weight.reshape(-1) for weight in weights])


def load(vector: Tensor, weights: Sequence[Tensor]) -> None:
    """Copy what `as_vector` made of weights like these into them."""
    for weight, part in zip(weights, vector.split([w.numel() for w in weights]), strict=True):
        weight.copy_(part.view(weight.shape))


def push_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy them between networks of the same shape, across devices if need be."""
    torch._foreach_copy_(floats_of(target), floats_of(source))  # pyright: ignore[reportPrivateImportUsage]
