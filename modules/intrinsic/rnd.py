"""Random network distillation: how new is a state over all of training? (Burda et al. 2018; NGU, section 2)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, InstanceOf
from tensordict import TensorDictBase
from torch import Tensor, nn

from modules.errors import NonFiniteError
from modules.intrinsic.base import IntrinsicContext
from modules.intrinsic.parts import AuxiliaryOptimizerSpec, encoder, finite, last_steps
from modules.keys import Spaces
from modules.metrics import Metric
from modules.moments import RunningMoments
from modules.networks.torsos import TorsoSpec
from modules.spec import Count, Positive, Spec, spec
from modules.stateful import HasState, Stateful

WHITE = 5.0  # standard deviations at which whitened observations are cut off
SAME = 1e-6  # spread of the errors, as a share of their mean, that is rounding only


@spec
class DistillationSpec(Spec):
    """Settings of the modulator α.

    Attributes:
        torso: body of both networks; a linear layer to `features` follows.
        features: outputs that the predictor must match.
        max_alpha: L, largest α.
        error_horizon: observations that the errors' mean and deviation look back over; 0 means all. The predictor
            learns, so errors shrink: measured by all of them, new states soon count as known and α stays 1.
        last_frames: steps at the end of each row that the predictor learns from.
        descent: optimiser of the predictor.
    """

    metrics = (Metric("intrinsic/rnd_loss", "1", "mean error of random network distillation over the updates"),)

    torso: InstanceOf[TorsoSpec]
    features: Positive
    max_alpha: Annotated[float, Field(ge=1)]
    error_horizon: Count
    last_frames: Positive
    descent: InstanceOf[AuxiliaryOptimizerSpec]

    def build(self, context: IntrinsicContext) -> "RandomDistillation":
        """Make both networks, from the global random stream, and empty statistics."""
        return RandomDistillation(self, context.spaces, context.device)


class RandomDistillation(Stateful):
    """A fixed random network, a predictor of its outputs, and the running statistics of observations and errors.

    err(x) = ‖ĝ(x) − g(x)‖² and α = 1 + (err − μ) / σ, clipped to [1, L] (NGU, section 2 and equation 1).
    Floating-point observations are whitened by their running mean and deviation and cut off at ±5; images and other
    whole numbers go to the torso as they are, which scales them itself. Both statistics are updated while
    acting, by `alpha` and `intrinsic_reward`; `step` only reads them.
    """

    def __init__(self, settings: DistillationSpec, spaces: Spaces, device: torch.device) -> None:
        self.settings = settings
        self.target = scaled_up(encoder(settings.torso, spaces, settings.features)).to(device).requires_grad_(False)
        self.predictor = scaled_up(encoder(settings.torso, spaces, settings.features)).to(device)
        self.whitens = spaces.observation_dtype.is_floating_point
        self.observations = RunningMoments(spaces.observation_shape if self.whitens else ())
        self.errors = RunningMoments(horizon=settings.error_horizon)
        self._descent = settings.descent.build(self.predictor.parameters())

    @torch.no_grad()
    def alpha(self, observation: Tensor) -> Tensor:
        """Modulate the episodic reward of the current states, [N, *shape], and take them into the statistics.

        The statistics take them in first, so the first observation is whitened to 0 and the first error is the mean;
        α = 1 as long as all errors are equal.

        Returns:
            α, float32 [N], from 1 to L.

        Raises:
            NonFiniteError: an error is NaN or infinite; the statistics of the errors are as before.
        """
        error, mean, deviation = self._taken_in(observation)
        if not deviation:
            return torch.ones_like(error)
        return (error.double() - (mean - deviation)).div_(deviation).clamp_(1, self.settings.max_alpha).float()

    @torch.no_grad()
    def intrinsic_reward(self, observation: Tensor) -> Tensor:
        """Reward the current states for the errors themselves, and take them into the statistics, all as `alpha` does.

        Deviation from Burda et al. (2018), who divide by the deviation of intrinsic returns: by that of the errors.

        Returns:
            err / σ, float32 [N], ≥ 0; 0 as long as all errors are equal.
        """
        error, _, deviation = self._taken_in(observation)
        return error / deviation if deviation else torch.zeros_like(error)

    def _taken_in(self, observation: Tensor) -> tuple[Tensor, float, float]:
        """Errors of the observations, [n], and mean and deviation of all errors, after the statistics took them in.

        The deviation is 0 if it is nothing but rounding.
        """
        if self.whitens:
            self.observations.update(observation.cpu().numpy())
        error = self.error(observation)
        if not finite(error):
            raise NonFiniteError("an error of random distillation is not finite: its predictor has diverged")
        self.errors.update(error.cpu().numpy())
        mean, std = float(self.errors.mean), float(self.errors.std)
        return error, mean, std if std > SAME * mean else 0.0

    def error(self, observation: Tensor) -> Tensor:
        """err(x), [...], of observations [..., *shape] under the present statistics."""
        white = self.whiten(observation)
        return (self.predictor(white) - self.target(white)).square().sum(-1)

    def whiten(self, observation: Tensor) -> Tensor:
        """What the networks see."""
        if not self.whitens:
            return observation
        return torch.from_numpy(self.observations.whiten(observation.cpu().numpy(), WHITE)).to(observation.device)

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        """Train the predictor on what the last steps of the rows saw, the observation after them included.

        At least one step is real. The loss is the mean error.
        """
        steps = last_steps(rows, self.settings.last_frames)
        loss = self.error(steps.observation[steps.seen]).mean()
        self._descent.step(loss, "random distillation")
        return {"rnd_loss": loss.detach()}

    def moments(self) -> dict[str, RunningMoments]:
        """What acting takes observations into."""
        return {"observations": self.observations, "errors": self.errors}

    def parts(self) -> Mapping[str, HasState]:
        return {
            "target": self.target,
            "predictor": self.predictor,
            "observations": self.observations,
            "errors": self.errors,
            "descent": self._descent,
        }


def scaled_up(network: nn.Module) -> nn.Module:
    """Draw orthogonal weights with gain √2 (Burda et al.'s code): the usual ones shrink what reaches the outputs."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            drawn = nn.init.orthogonal_(torch.empty(layer.weight.shape), 2**0.5)  # not in place: strides may be odd
            layer.weight.data.copy_(drawn)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
