"""Heads: memory → action values."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from modules import keys
from modules.networks.context import PartContext
from modules.networks.torsos import Init, dense, initialise_
from modules.spec import Positive, RunConfig, Spec, spec


class HeadSpec(Spec):
    """Settings of a head.

    `build` makes a module, features [..., in_features] → tensors [..., …] by name: `action_value` [..., A], by which
    actions are chosen, and what else a loss may learn. `reads` says what a torso must write; `writes` names the
    tensors.
    """

    reads: ClassVar[str] = "features"
    writes: ClassVar[tuple[str, ...]] = (keys.ACTION_VALUE,)

    def build(self, context: PartContext) -> nn.Module:
        """Make the head."""
        raise NotImplementedError


@spec
class DenseHeadSpec(HeadSpec):
    """What heads of fully connected layers have in common.

    Attributes:
        hidden: sizes of the hidden layers; of a dueling head, of each stream.
        bias: whether the layers have biases.
        init: how weights begin: default (PyTorch's) or glorot (Keras').
    """

    hidden: tuple[Positive, ...]
    bias: bool
    init: Init

    def layers(self, in_features: int, out_features: int) -> nn.Sequential:
        """Make fully connected layers with a linear end, whose bias starts at 0."""
        mlp = dense((in_features, *self.hidden, out_features), nn.ReLU, bias=self.bias)
        initialise_(mlp, self.init)
        if self.bias:
            nn.init.zeros_(mlp[-1].bias)  # pyright: ignore[reportArgumentType]
        return mlp


@spec
class QSpec(DenseHeadSpec):
    """Fully connected layers that end in one value per action; the last bias starts at 0.

    To a loss that learns the policy itself they are logits: the greatest is the likeliest action, and greedy the same.
    """

    def build(self, context: PartContext) -> "Values":
        return Values(self.layers(context.in_features, context.spaces.n_actions))


@spec
class QuantileSpec(DenseHeadSpec):
    """Fully connected layers that end in the quantiles of each action's return; its value is their mean.

    Source: QR-DQN (Dabney et al. 2018), section 4; the quantiles stand at τ = (2i − 1) / 2N.

    Attributes:
        quantiles: number of quantiles per action, N.
    """

    writes = (keys.ACTION_VALUE, keys.QUANTILES)

    quantiles: Positive

    def needs(self, run: RunConfig) -> Iterator[str]:
        """Something must learn the quantiles."""
        if run.loss.learns != keys.QUANTILES:
            yield "network/head=quantile needs a loss that learns quantiles: use loss=quantile, or network/head=q"

    def build(self, context: PartContext) -> "Quantiles":
        n_actions = context.spaces.n_actions
        return Quantiles(self.layers(context.in_features, n_actions * self.quantiles), n_actions)


class Quantiles(nn.Module):
    """What layers put out, as the quantiles of each action."""

    def __init__(self, layers: nn.Module, n_actions: int) -> None:
        super().__init__()
        self.layers, self.n_actions = layers, n_actions

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """[..., features] → `quantiles` [..., A, N] and their mean, `action_value` [..., A]."""
        quantiles = self.layers(features).unflatten(-1, (self.n_actions, -1))
        return {keys.ACTION_VALUE: quantiles.mean(-1), keys.QUANTILES: quantiles}


@spec
class DuelingSpec(DenseHeadSpec):
    """A value and an advantage stream, each with hidden layers of its own; the last biases start at 0.

    Source: Wang et al. (2016), equation 9; R2D2 puts it after the memory.
    """

    def needs(self, run: RunConfig) -> Iterator[str]:
        """The value must show in what is learned."""
        if run.loss.on_policy:
            yield (
                "network/head=dueling adds a value to all logits alike, which a softmax does not see, so that "
                "loss=reinforce could not learn it: use network/head=q"
            )

    def build(self, context: PartContext) -> "Dueling":
        value, advantage = (self.layers(context.in_features, size) for size in (1, context.spaces.n_actions))
        return Dueling(value, advantage)


class Values(nn.Module):
    """What layers put out, as action values."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """[..., features] → `action_value` [..., A]."""
        return {keys.ACTION_VALUE: self.layers(features)}


class Dueling(nn.Module):
    """Q = V + A − mean A over the actions."""

    def __init__(self, value: nn.Module, advantage: nn.Module) -> None:
        super().__init__()
        self.value, self.advantage = value, advantage

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """[..., features] → `action_value` [..., A]."""
        advantage = self.advantage(features)
        return {keys.ACTION_VALUE: self.value(features) + advantage - advantage.mean(-1, keepdim=True)}
