"""Meta-controllers that learn nothing: one arm only, arms drawn uniformly, and an arm for life."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from modules.meta_controller.arms import Arms
from modules.meta_controller.base import (
    FixedArm,
    MetaContext,
    MetaController,
    MetaControllerSpec,
    PolicyFamilySpec,
    refuse_twice,
)
from modules.spec import RunConfig, spec
from modules.stateful import Stateless


@spec
class NoneSpec(MetaControllerSpec):
    """One policy: one arm without intrinsic reward, and the loss's own discount."""

    single = True

    def table(self, gamma: float) -> Arms:
        return Arms(beta=torch.zeros(1), gamma=torch.full((1,), gamma))

    def build(self, context: MetaContext) -> "FixedArm":
        return FixedArm()


@spec
class UniformSpec(PolicyFamilySpec):
    """An arm drawn uniformly for each episode.

    Source: NGU, as Agent57 describes it; NGU's own algorithm is `FixedPerActorSpec`.
    """

    def build(self, context: MetaContext) -> "UniformArms":
        return UniformArms(n=self.arms.n, seed=context.seed)


class UniformArms(MetaController):
    """Every arm is as likely as any other, whatever it brought in."""

    def __init__(self, *, n: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._n = n

    def choose(self, which: Tensor) -> Tensor:
        refuse_twice(which)
        return torch.randint(self._n, (len(which),), generator=self.generator)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])


@spec
class FixedPerActorSpec(PolicyFamilySpec):
    """An arm for each environment, which it keeps for life.

    Source: NGU, appendix A, where actor j has arm j mod N − 1, so that as printed nobody plays the last one; here it is
    j mod N. Deviation: fewer environments than arms are spread evenly from the first arm to the last, as the ladder of
    ε is; by j mod N they would leave out the curious ones.
    """

    def needs(self, run: RunConfig) -> Iterator[str]:
        if run.collector.total_envs == 1 < self.arms.n:
            yield (
                f"collector.num_envs=1 has one environment, which meta=fixed_per_actor would let play arm 0 of "
                f"meta.arms.n={self.arms.n} for life, without novelty: use more environments, or meta=uniform"
            )

    def build(self, context: MetaContext) -> "ArmPerActor":
        return ArmPerActor(n=self.arms.n, numbers=context.numbers, total=context.total)


class ArmPerActor(Stateless, MetaController):
    """Each environment has one arm; remembers nothing."""

    def __init__(self, *, n: int, numbers: range, total: int) -> None:
        actor = torch.tensor(numbers)
        spread = (actor * (n - 1) / max(1, total - 1)).round().long()
        self._arms = actor % n if total >= n else spread

    def choose(self, which: Tensor) -> Tensor:
        refuse_twice(which)
        return self._arms[which.cpu()]
