"""Heads: memory → action values."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP

from modules import keys
from modules.networks.torsos import Init, initialise_
from modules.spec import Spec, spec

PositiveInt = Annotated[int, Field(gt=0)]


class HeadSpec(Spec):
    """Settings of a head; `build` makes the module that writes `action_value`, [..., A]."""

    reads: ClassVar[str] = "features"  # what a torso `writes`

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
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

    hidden: tuple[PositiveInt, ...]
    bias: bool
    init: Init

    def layers(self, in_features: int, out_features: int) -> MLP:
        """Make fully connected layers with a linear end, whose bias starts at 0."""
        mlp = MLP(
            in_features=in_features,
            out_features=out_features,
            num_cells=list(self.hidden),
            activation_class=nn.ReLU,
            layer_kwargs={"bias": self.bias},
        )
        initialise_(mlp, self.init)
        if self.bias:
            nn.init.zeros_(mlp[-1].bias)  # pyright: ignore[reportArgumentType]
        return mlp


@spec
class QSpec(DenseHeadSpec):
    """Fully connected layers that end in one value per action; the last bias starts at 0.

    To a loss that learns the policy itself they are logits: the greatest is the likeliest action, and greedy the same.
    """

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
        """Make the head."""
        return TensorDictModule(self.layers(in_features, n_actions), [keys.MEMORY], [keys.ACTION_VALUE])


@spec
class DuelingSpec(DenseHeadSpec):
    """A value and an advantage stream, each with hidden layers of its own; the last biases start at 0.

    Source: Wang et al. (2016), equation 9; R2D2 puts it after the memory.
    """

    def needs(self, run: Any) -> Iterator[str]:
        """The value must show in what is learned."""
        if run.loss.on_policy:
            yield (
                "network/head=dueling adds a value to all logits alike, which a softmax does not see, so that "
                "loss=reinforce could not learn it: use network/head=q"
            )

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
        """Make the head."""
        value, advantage = (self.layers(in_features, size) for size in (1, n_actions))
        return TensorDictModule(Dueling(value, advantage), [keys.MEMORY], [keys.ACTION_VALUE])


class Dueling(nn.Module):
    """Q = V + A − mean A over the actions."""

    def __init__(self, value: nn.Module, advantage: nn.Module) -> None:
        super().__init__()
        self.value, self.advantage = value, advantage

    def forward(self, memory: Tensor) -> Tensor:
        """[..., features] → [..., A]."""
        advantage = self.advantage(memory)
        return self.value(memory) + advantage - advantage.mean(-1, keepdim=True)
