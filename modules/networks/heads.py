"""Heads: memory → action values."""

from typing import Annotated, ClassVar

from pydantic import Field
from tensordict.nn import TensorDictModule
from torch import nn
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
        mlp = MLP(
            in_features=in_features,
            out_features=n_actions,
            num_cells=list(self.hidden),
            activation_class=nn.ReLU,
        )
        nn.init.zeros_(mlp[-1].bias)  # pyright: ignore[reportArgumentType]
        return TensorDictModule(mlp, [keys.MEMORY], [keys.ACTION_VALUE])
