"""NGU's intrinsic reward: novelty within the episode, modulated by novelty over the whole run; each part alone too.

Source: Badia et al. (2020), *Never Give Up*, section 2 and algorithm 1; docs/algorithms/ngu.md has what it leaves open.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import InstanceOf
from tensordict import TensorDictBase
from torch import Tensor, nn

from modules.intrinsic.base import IntrinsicContext, IntrinsicModel, IntrinsicReward, IntrinsicSpec, MeanAccumulator
from modules.intrinsic.embedding import Embedding, EmbeddingSpec
from modules.intrinsic.episodic_memory import EpisodicMemory, EpisodicSpec
from modules.intrinsic.parts import misfits
from modules.intrinsic.rnd import DistillationSpec, RandomDistillation
from modules.metrics import Metric
from modules.moments import RunningMoments
from modules.spec import PositiveFloat, RunConfig, spec
from modules.stateful import HasState, Stateless


@spec
class EpisodicNoveltySpec(IntrinsicSpec):
    """Novelty within the episode alone: r = scale · r_episodic.

    Attributes:
        scale: factor of the reward; 1 is the paper's.
        embedding: what of an observation counts within an episode.
        memory: the episodic memory.
    """

    divides = True
    metrics = (
        *IntrinsicSpec.metrics,
        Metric("intrinsic/episodic_mean", "1", "its part within the episode (NGU, algorithm 1): mean r_episodic"),
    )

    scale: PositiveFloat
    embedding: InstanceOf[EmbeddingSpec]
    memory: InstanceOf[EpisodicSpec]

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from misfits(run, self.embedding.torso)

    def build(self, context: IntrinsicContext) -> "Novelty":
        return Novelty(
            self.embedding.build(context), self.memory, None, features=self.embedding.features, scale=self.scale
        )


@spec
class NguSpec(EpisodicNoveltySpec):
    """r = scale · r_episodic · α, with α between 1 and L.

    Attributes:
        lifelong: random network distillation, the modulator α.
    """

    metrics = (
        *EpisodicNoveltySpec.metrics,
        Metric("intrinsic/alpha_mean", "1", "its part over the whole run: mean α, from 1 to L"),
    )

    lifelong: InstanceOf[DistillationSpec]

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from misfits(run, self.embedding.torso, self.lifelong.torso)

    def build(self, context: IntrinsicContext) -> "Novelty":
        parts = self.embedding.build(context), self.memory, self.lifelong.build(context)
        return Novelty(*parts, features=self.embedding.features, scale=self.scale)


@spec
class RndSpec(IntrinsicSpec):
    """Novelty over the whole run alone: r = scale · err / σ (Burda et al. 2018, with the error's own deviation).

    Attributes:
        scale: factor of the reward.
        lifelong: random network distillation.
    """

    divides = True

    scale: PositiveFloat
    lifelong: InstanceOf[DistillationSpec]

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from misfits(run, self.lifelong.torso)

    def build(self, context: IntrinsicContext) -> "Distilled":
        return Distilled(self.lifelong.build(context), scale=self.scale)


class Novelty(IntrinsicModel):
    """Embedding, and distillation if there is one, with what they learn."""

    def __init__(
        self,
        embedding: Embedding,
        memory: EpisodicSpec,
        lifelong: RandomDistillation | None,
        *,
        features: int,
        scale: float,
    ) -> None:
        self.embedding, self.memory, self.lifelong = embedding, memory, lifelong
        self.features, self.scale = features, scale

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        measures = self.embedding.step(rows) | ({} if self.lifelong is None else self.lifelong.step(rows))
        return {f"intrinsic/{name}": value for name, value in measures.items()}

    def acting(self, num_envs: int) -> "NoveltyReward":
        return NoveltyReward(self, num_envs)

    def networks(self) -> list[nn.Module]:
        lifelong = [] if self.lifelong is None else [self.lifelong.target, self.lifelong.predictor]
        return [self.embedding.network, *lifelong]

    def moments(self) -> Mapping[str, RunningMoments]:
        return {} if self.lifelong is None else self.lifelong.moments()

    def parts(self) -> Mapping[str, HasState]:
        embedding: dict[str, HasState] = {"embedding": self.embedding}
        return embedding if self.lifelong is None else embedding | {"lifelong": self.lifelong}


class NoveltyReward(IntrinsicReward):
    """One episodic memory per environment, and the embedding that stays as it is within an episode."""

    def __init__(self, source: Novelty, num_envs: int) -> None:
        self._source = source
        self._embed = source.embedding.acting(num_envs)
        device = next(source.embedding.network.parameters()).device
        self._memory = EpisodicMemory(source.memory, num_envs, source.features, device)
        self._tally = MeanAccumulator()

    def begin(self, which: Tensor, observation: Tensor) -> None:
        self._embed.refresh(which)
        self._memory.reset(which)
        self._memory.query_and_add(self._embed(observation), which)

    def reward(self, observation: Tensor) -> Tensor:
        """`scale` · r_episodic, times α if there is one."""
        episodic = self._memory.query_and_add(self._embed(observation))
        reward, parts = self._source.scale * episodic, {"episodic": episodic}
        if self._source.lifelong is not None:
            parts["alpha"] = self._source.lifelong.alpha(observation)
            reward = reward * parts["alpha"]
        self._tally.add(reward=reward, **parts)
        return reward

    def measures(self) -> dict[str, float]:
        return self._tally.means()

    def told(self) -> dict[str, MeanAccumulator]:
        return {"means": self._tally}

    def adopt(self, other: IntrinsicReward) -> None:
        assert isinstance(other, NoveltyReward)
        self._memory.adopt(other._memory)

    def state_dict(self) -> dict[str, Any]:
        return self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory.load_state_dict(state)


class Distilled(IntrinsicModel):
    """Random network distillation alone."""

    def __init__(self, lifelong: RandomDistillation, *, scale: float) -> None:
        self.lifelong, self.scale = lifelong, scale

    def step(self, rows: TensorDictBase) -> dict[str, Tensor]:
        return {f"intrinsic/{name}": value for name, value in self.lifelong.step(rows).items()}

    def acting(self, num_envs: int) -> "DistilledReward":
        return DistilledReward(self)

    def networks(self) -> list[nn.Module]:
        return [self.lifelong.target, self.lifelong.predictor]

    def moments(self) -> Mapping[str, RunningMoments]:
        return self.lifelong.moments()

    def parts(self) -> Mapping[str, HasState]:
        return self.lifelong.parts()


class DistilledReward(Stateless, IntrinsicReward):
    """Rewards by the source, whose statistics are the same for all environments."""

    def __init__(self, source: Distilled) -> None:
        self._source = source
        self._tally = MeanAccumulator()

    def reward(self, observation: Tensor) -> Tensor:
        """`scale` · err / σ."""
        reward = self._source.scale * self._source.lifelong.intrinsic_reward(observation)
        self._tally.add(reward=reward)
        return reward

    def measures(self) -> dict[str, float]:
        return self._tally.means()

    def told(self) -> dict[str, MeanAccumulator]:
        return {"means": self._tally}
