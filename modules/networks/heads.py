"""Heads: memory → action values."""

from typing import Annotated, ClassVar

from pydantic import Field
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP

from modules import keys
from modules.spec import Spec, spec

PositiveInt = Annotated[int, Field(gt=0)]


class HeadSpec(Spec):
    """Settings of a head; `build` makes the module that writes `action_value`, [..., A]."""

    reads: ClassVar[str] = "features"  # what a torso `writes`

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
        """Make the head."""
        raise NotImplementedError


@spec
class QSpec(HeadSpec):
    """Fully connected layers that end in one value per action; the last bias starts at 0."""

    hidden: tuple[PositiveInt, ...]

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
        """Make the head."""
        return TensorDictModule(layers(in_features, self.hidden, n_actions), [keys.MEMORY], [keys.ACTION_VALUE])


@spec
class DuelingSpec(HeadSpec):
    """A value and an advantage stream, each with hidden layers of its own; the last biases start at 0.

    Source: Wang et al. (2016), equation 9; R2D2 puts it after the memory.

    Attributes:
        hidden: sizes of the hidden layers of each stream.
    """

    hidden: tuple[PositiveInt, ...]

    def build(self, in_features: int, n_actions: int) -> TensorDictModule:
        """Make the head."""
        value, advantage = (layers(in_features, self.hidden, size) for size in (1, n_actions))
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


def layers(in_features: int, hidden: tuple[int, ...], out_features: int) -> MLP:
    """Make fully connected layers with a linear end, whose bias starts at 0."""
    mlp = MLP(in_features=in_features, out_features=out_features, num_cells=list(hidden), activation_class=nn.ReLU)
    nn.init.zeros_(mlp[-1].bias)  # pyright: ignore[reportArgumentType]
    return mlp
