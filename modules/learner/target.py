"""How the target network follows the online one."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torchrl.objectives import LossModule, SoftUpdate

from modules.spec import Positive, Spec, spec


@spec
class TargetSpec(Spec):
    """Settings of the target network's updates.

    Attributes:
        tau: share of the online network that enters the target at each update; 1 copies it.
        period: optimiser steps between updates.
    """

    tau: Annotated[float, Field(gt=0, le=1)]
    period: Positive

    def build(self, loss: LossModule) -> "FusedSoftUpdate | NoTarget":
        """Make what lets the target network follow, if the loss has one."""
        has_target = any(name.startswith("target_") for name, _ in loss.named_children())
        return FusedSoftUpdate(loss, tau=self.tau) if has_target else NoTarget()


class FusedSoftUpdate(SoftUpdate):
    """TorchRL's `SoftUpdate` in one fused call: its walk over a TensorDict costs as much as a small network's step."""

    def __init__(self, loss: LossModule, *, tau: float) -> None:
        super().__init__(loss, tau=tau)
        self._share = tau
        sets: dict[str, Any] = dict(loss.named_children())
        self._pairs = [
            (targets[key].data, source.data)
            for name, targets in sets.items()
            if name.startswith("target_")
            for key, source in sets[name.removeprefix("target_")].items(include_nested=True, leaves_only=True)
            if isinstance(source, nn.Parameter)
        ]

    def step(self) -> None:
        """Move each target by the share τ towards its source."""
        targets, sources = (list(side) for side in zip(*self._pairs, strict=True))
        torch._foreach_lerp_(targets, sources, self._share)  # pyright: ignore[reportPrivateImportUsage]


class NoTarget:
    """Stands for the target network of a loss that has none."""

    def step(self) -> None:
        """Does nothing: this loss has no target network."""
