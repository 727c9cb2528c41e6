"""Optimisers."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field

from modules.metrics import Metric
from modules.spec import Positive, PositiveFloat, Spec, spec

Beta = Annotated[float, Field(ge=0, lt=1)]


@spec
class AdamSpec(Spec):
    """Adam (Kingma & Ba 2015) with gradient clipping and an average of the weights.

    Attributes:
        lr: learning rate.
        lr_decay: share of `lr` that is left from frame `lr_decay_frames` on; the way there is a straight line.
        lr_decay_frames: length of that line, in env frames.
        eps: added to the root of the second moment.
        betas: decay of the two moments.
        max_grad_norm: norm to which the whole gradient is clipped.
        ema_decay: decay, per update, of the average of the weights that is evaluated (Polyak & Juditsky 1992);
            0 evaluates the newest weights. Q-learning's greedy policy changes from update to update more than its
            values do; the average does not.
    """

    metrics = (
        Metric("train/updates", "count", "optimiser steps so far"),
        Metric("loss/grad_norm", "norm", "mean norm of the gradient before clipping over the same updates"),
        Metric(
            "train/adam_share",
            "share",
            "mean of √v / (√v + ε) over the weights with a gradient, v Adam's second moment: what ε leaves of the "
            "learning rate. Near 0 nothing is learned",
        ),
    )

    lr: PositiveFloat
    lr_decay: Annotated[float, Field(gt=0, le=1)]
    lr_decay_frames: Positive
    eps: PositiveFloat
    betas: tuple[Beta, Beta]
    max_grad_norm: PositiveFloat
    ema_decay: Annotated[float, Field(ge=0, lt=1)]

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Adam:
        """Make the optimiser over `parameters`; one fused kernel instead of a loop over tensors."""
        return torch.optim.Adam(parameters, lr=self.lr, eps=self.eps, betas=self.betas, fused=True)


def adam_share(optimiser: torch.optim.Adam) -> float:
    """Mean of √v / (√v + ε) over the weights that ever had a gradient, v the unbiased second moment; NaN before any."""
    shares, count = 0.0, 0
    for group in optimiser.param_groups:
        for state in (optimiser.state[p] for p in group["params"] if p in optimiser.state):
            v = state["exp_avg_sq"]
            root = v[v > 0].sqrt() / (1 - group["betas"][1] ** float(state["step"])) ** 0.5
            shares += float((root / (root + group["eps"])).sum())
            count += len(root)
    return shares / count if count else float("nan")
