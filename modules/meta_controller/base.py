"""What the loop knows of a meta-controller."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import InstanceOf
from torch import Tensor

from modules.meta_controller.arms import Arms, ArmsSpec
from modules.spec import Spec, spec
from modules.stateful import Stateful, Stateless


class MetaController(Stateful):
    """E controllers over the same n arms, one per environment; each learns from its own environment's episodes.

    One that learns nothing only has `choose`. Put back to a saved state, it goes on with the same choices; the state of
    other controllers, arms or windows is a `ValueError` and changes nothing.

    Attributes:
        tries: of an evaluator, episodes to be played inside `trying` before each evaluation.
    """

    tries: int = 0

    def trying(self) -> AbstractContextManager[None]:
        """Episodes inside are there to learn from; an evaluator that does gives the best arm outside."""
        return nullcontext()

    def choose(self, which: Tensor) -> Tensor:
        """Choose the arm of the next episode of each controller in `which`, [m], none twice → [m], int64, on CPU."""
        raise NotImplementedError

    def update(self, which: Tensor, arms: Tensor, returns: Tensor) -> None:
        """Take note of one finished episode of each controller in `which`, if there is anything to learn.

        Args:
            which: controllers, [m], none twice.
            arms: the arm of each episode, [m].
            returns: its undiscounted extrinsic return, [m].

        Raises:
            ValueError: a controller is named twice, an arm does not exist, a return is not finite or the shapes
                differ; nothing has changed.
        """

    def greedy(self) -> int:
        """Return the best arm by what is remembered; if that is nothing, arm 0, the one that exploits."""
        return 0


class FixedArm(Stateless, MetaController):
    """The same arm in every episode; remembers nothing."""

    def __init__(self, arm: int = 0) -> None:
        self.arm = arm

    def choose(self, which: Tensor) -> Tensor:
        return torch.full((len(which),), self.arm)

    def greedy(self) -> int:
        return self.arm


@dataclass(frozen=True, kw_only=True)
class MetaContext:
    """What a meta-controller may need.

    Attributes:
        numbers: those of its environments among all of the run; as many controllers, E, are made.
        total: number of environments in the run.
        seed: of its random stream.
    """

    numbers: range
    total: int
    seed: int

    @classmethod
    def all_of(cls, total: int, seed: int) -> "MetaContext":
        """All environments of a run or of an evaluation."""
        return cls(numbers=range(total), total=total, seed=seed)


class MetaControllerSpec(Spec):
    """Settings of a meta-controller; `single` says that there is no family, but one policy."""

    single: ClassVar[bool] = False

    def table(self, gamma: float) -> Arms:
        """Make the table of arms; `gamma` is the loss's own, for the option that brings none."""
        raise NotImplementedError

    def build(self, context: MetaContext) -> MetaController:
        """Make a controller for each environment."""
        raise NotImplementedError

    def build_evaluation_bandit(self, context: MetaContext) -> MetaController:
        """Make what chooses the arm of evaluations: always arm 0, the one that exploits, unless overridden."""
        return FixedArm()


@spec
class PolicyFamilySpec(MetaControllerSpec):
    """Settings of a meta-controller of several arms.

    Attributes:
        arms: the family of policies.
    """

    arms: InstanceOf[ArmsSpec]

    def table(self, gamma: float) -> Arms:
        return self.arms.build()


def refuse_twice(which: Tensor) -> None:
    """Raise `ValueError` if a controller is named twice: its environment is in one episode at a time."""
    if len(which.unique()) < len(which):
        raise ValueError(f"a controller is named twice: {which.tolist()}")


def refuse_impossible(which: Tensor, arms: Tensor, returns: Tensor, n: int) -> None:
    """Raise `ValueError` for episodes that cannot have been: see `MetaController.update`."""
    if not which.shape == arms.shape == returns.shape:
        raise ValueError(
            f"{list(arms.shape)} arms and {list(returns.shape)} returns for {list(which.shape)} controllers"
        )
    refuse_twice(which)
    if not ((arms >= 0) & (arms < n)).all():
        raise ValueError(f"arms must be 0 to {n - 1}, not {arms.tolist()}")
    if not returns.isfinite().all():
        raise ValueError(f"returns must be finite, not {returns.tolist()}")


def load(mine: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Copy the tensors of `state` into those of the same names; raise `ValueError` before if one does not fit."""
    for name, tensor in mine.items():
        if state[name].shape != tensor.shape:
            raise ValueError(f"a meta-controller's {name} {list(state[name].shape)} do not fit {list(tensor.shape)}")
    for name, tensor in mine.items():
        tensor.copy_(state[name])
