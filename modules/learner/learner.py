"""The learner: loss, backward, clip, optimiser, target update; the same lines for every algorithm."""

import copy
from collections.abc import Iterable, Mapping
from math import isfinite, isnan
from typing import Any, Protocol, runtime_checkable

import torch
from tensordict import TensorDictBase
from torch import nn
from torchrl.objectives import LossModule

from modules import keys
from modules.errors import NonFiniteError
from modules.learner.normalising import ObservationStatistics
from modules.learner.staleness import Unroller, delta_q
from modules.learner.target import TargetSpec
from modules.optim import AdamSpec, adam_share
from modules.schedule import linear


@runtime_checkable
class Split(Protocol):
    """A network of several that share no parameter and learn from losses of their own."""

    @property
    def independent(self) -> tuple[nn.Module, ...]: ...


class Learner:
    """Owns the loss with both networks, the optimiser, the target update and the average of the weights."""

    def __init__(
        self,
        network: nn.Module,
        loss: LossModule,
        settings: AdamSpec,
        target: TargetSpec,
        *,
        metric: str = "loss/q",
        normalise_until: int | None = None,
    ) -> None:
        self.network, self._metric = network, metric
        self.loss = loss
        self._average = copy.deepcopy(network).requires_grad_(False)
        # Lists, not walks over the modules at each update: those cost as much as a small network's backward pass.
        self._averages = [p.detach() for p in self._average.parameters()]
        self._newest = [p.detach() for p in network.parameters()]
        self.updates = 0
        self._settings = settings
        self._parameters = [p for p in loss.parameters() if p.requires_grad]
        parts = network.independent if isinstance(network, Split) else [network]
        # What Adam does to one parameter depends on no other; clipped together, streams would scale each other's steps.
        self._streams = [list(part.parameters()) for part in parts] if len(parts) > 1 else [self._parameters]
        self._optimiser = settings.build(self._parameters)
        self._target, self._target_period = target.build(loss), target.period
        self._statistics = ObservationStatistics(network, (loss, self._average), normalise_until)

    def observe(self, batch: TensorDictBase, frames: int) -> None:
        """Take what was collected, [N, T] until frame `frames`, into the statistics that observations are seen by."""
        if self._statistics.counts:
            self._statistics.observe(batch[keys.OBSERVATION], frames)

    def anneal(self, frames: int) -> float:
        """Set the learning rate for frame `frames` and return it."""
        s = self._settings
        lr = s.lr * linear(frames, start=1.0, end=s.lr_decay, over=s.lr_decay_frames)
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        return lr

    def staleness(self, history: Iterable[TensorDictBase], stride: int) -> dict[str, float]:
        """Measure how stale the recurrent states are, see `delta_q`; nothing where the loss has none."""
        device = self._parameters[0].device
        return delta_q(history, self.loss, stride, device) if isinstance(self.loss, Unroller) else {}

    def step(self, rows: TensorDictBase) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Learn from one batch.

        Returns:
            The loss's detached scalars with the gradient's norm before clipping, and the |δ| [B, T] of the steps if
            the loss tells them.

        Raises:
            NonFiniteError: names what was not finite; parameters, moments and target are as before.
        """
        out = dict(self.loss(rows).items())
        errors, loss = out.pop("errors", None), out.pop("loss")
        self._optimiser.zero_grad()
        loss.backward()
        norms = [torch.nn.utils.clip_grad_norm_(part, self._settings.max_grad_norm) for part in self._streams]
        grad_norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
        measures = {f"loss/{name}": value for name, value in out.items()}
        measures |= {self._metric: loss.detach(), "loss/grad_norm": grad_norm}
        if not (isfinite(grad_norm) and isfinite(measures[self._metric])):  # of math: a tensor's own takes five calls
            self._optimiser.zero_grad()
            bad = [f"{name} = {value.item()}" for name, value in measures.items() if not value.isfinite()]
            raise NonFiniteError(f"update {self.updates + 1} is not finite: {', '.join(bad)}")
        self._optimiser.step()
        if (self.updates + 1) % self._target_period == 0:
            self._target.step()
        self._update_average()
        self.updates += 1
        return measures, errors

    def measures(self) -> dict[str, float]:
        """What is measured now and then, not at each update."""
        share = adam_share(self._optimiser)
        return {"train/updates": self.updates, **({} if isnan(share) else {"train/adam_share": share})}

    @property
    def average(self) -> nn.Module:
        """The network with averaged weights, which is what evaluations see."""
        return self._average

    def _update_average(self) -> None:
        """Move the averages by the share 1 − decay towards the newest weights; the first time, all the way."""
        share = 1 - self._settings.ema_decay if self.updates else 1.0
        torch._foreach_lerp_(self._averages, self._newest, share)  # pyright: ignore[reportPrivateImportUsage]

    def state_dict(self) -> dict[str, Any]:
        """Parameters, target, average, moments and count."""
        return {
            "average": self._average.state_dict(),
            "loss": self.loss.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "updates": self.updates,
            "statistics": self._statistics.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.loss.load_state_dict(state["loss"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.updates = state["updates"]
        self._statistics.load_state_dict(state.get("statistics", {}))
