"""Exploration: how the acting policy leaves the greedy path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from tensordict.nn import TensorDictModule
from torch import Tensor

from modules import keys
from modules.keys import Spaces
from modules.losses.allowed import redraw
from modules.metrics import Metric
from modules.schedule import linear
from modules.spec import Count, NonNegative, PositiveFloat, RunConfig, Share, Spec, spec
from modules.stateful import Stateless


class Exploration(Stateless):
    """Chooses actions from values; ε or temperature is that of the last `anneal`, logged as `metric`.

    One that remembers something says so by `parts`, as `Stateful` does; in worker processes it is not kept.
    """

    metric: ClassVar[str] = "train/epsilon"

    def anneal(self, frames: int) -> float:
        """Set ε or temperature for frame `frames` and return its mean over the environments."""
        raise NotImplementedError

    def choose(self, values: Tensor) -> Tensor:
        """Action values [N, A] → actions [N]; draws from PyTorch's global generator."""
        raise NotImplementedError

    def probability(self, values: Tensor, action: Tensor) -> Tensor:
        """Share [N] with which `choose` takes `action` [N] for these values; a random draw may be the best."""
        raise NotImplementedError


@dataclass(frozen=True)
class ExplorationContext:
    """Which environments act.

    Attributes:
        numbers: theirs among all of the run, from 0 on.
        total: number of environments in the run.
    """

    numbers: Sequence[int]
    total: int

    @classmethod
    def all_of(cls, total: int) -> "ExplorationContext":
        """All environments of a run, or of one of its actors that is alone."""
        return cls(range(total), total)

    @classmethod
    def spread(cls, num_envs: int, total: int) -> "ExplorationContext":
        """Environments that stand for `total`: their numbers are taken evenly, and one has the middle number."""
        return cls([(2 * i + 1) * total // (2 * num_envs) for i in range(num_envs)], total)


class ExplorationSpec(Spec):
    """Settings of an exploration; `build` makes the rule by which the acting policy chooses."""

    metrics = (Metric("train/epsilon", "share", "probability of a random action (ε-greedy)"),)

    def build(self, context: ExplorationContext) -> Exploration:
        """Make the rule by which the acting policy chooses."""
        raise NotImplementedError

    def draws_from_softmax(self, frames: int) -> bool:
        """Tell whether actions are drawn from the softmax of their values, at the first frame and at frame `frames`."""
        values = torch.tensor([0.0, 1.0, 30.0]).expand(3, 3)
        rule = self.build(ExplorationContext.all_of(3))
        for frame in (0, frames):
            rule.anneal(frame)
            if not torch.allclose(rule.probability(values, torch.arange(3)), values.softmax(-1).diagonal(), atol=0):
                return False
        return True


class LinearScheduleSpec(ExplorationSpec):
    """Settings of a rule with one number, the same in all environments, that falls in a line over env frames."""

    start: float
    end: float
    anneal_frames: int

    def needs(self, run: RunConfig) -> Iterator[str]:
        if self.end > self.start:
            yield f"exploration.end={self.end} must not exceed exploration.start={self.start}"


class LinearSchedule(Exploration):
    """A rule with one number, `now`, for all environments."""

    def __init__(self, settings: LinearScheduleSpec) -> None:
        self._line = settings
        self.anneal(0)

    def anneal(self, frames: int) -> float:
        line = self._line
        self.now = linear(frames, start=line.start, end=line.end, over=line.anneal_frames)
        return self.now


def random_policy(spaces: Spaces) -> TensorDictModule:
    """Make a policy that takes any action that is allowed, whatever else it sees."""

    def choose(observation: Tensor) -> Tensor:
        action = torch.randint(spaces.n_actions, observation.shape[:1])
        return action if spaces.allowed is None else redraw(action, observation[..., spaces.allowed] != 0)

    return TensorDictModule(choose, [keys.OBSERVATION], [keys.ACTION])


def eps_greedy(values: Tensor, epsilon: float | Tensor) -> Tensor:
    """With probability `epsilon`, one for all or [N], a uniformly random action, else the best; [N, A] → [N]."""
    n, n_actions = values.shape
    explores = torch.rand(n, device=values.device) < epsilon
    anything = torch.randint(n_actions, (n,), device=values.device)
    return torch.where(explores, anything, values.argmax(-1))


def eps_greedy_probability(values: Tensor, action: Tensor, epsilon: float | Tensor) -> Tensor:
    """1 − ε + ε/A for the best action, ε/A for any other, whichever way it was drawn; [N, A], [N] → [N]."""
    best = (action == values.argmax(-1)).to(values.dtype)
    return best * (1 - epsilon) + epsilon / values.shape[-1]


@spec
class EpsGreedySpec(LinearScheduleSpec):
    """ε-greedy: a uniformly random action with probability ε, annealed linearly in env frames.

    Attributes:
        start: ε at frame 0.
        end: ε from frame `anneal_frames` on.
        anneal_frames: length of the line, in env frames; 0 means `end` from the start.
    """

    start: Share
    end: Share
    anneal_frames: Count

    def build(self, context: ExplorationContext) -> "EpsGreedy":
        """Make the rule, the same in all environments."""
        return EpsGreedy(self)


class EpsGreedy(LinearSchedule):
    """One ε for all environments."""

    def choose(self, values: Tensor) -> Tensor:
        return eps_greedy(values, self.now)

    def probability(self, values: Tensor, action: Tensor) -> Tensor:
        return eps_greedy_probability(values, action, self.now)


@spec
class EpsLadderSpec(ExplorationSpec):
    """ε-greedy with an ε of its own for each environment: ε_i = base^(1 + alpha · i/(N−1)), i = 0 … N−1.

    Source: Ape-X (Horgan et al. 2018), section 4.1; R2D2 uses the same. The annealing is an addition: few
    environments give few random actions to begin with.

    Attributes:
        base: ε of environment 0, the most curious; with one environment, its ε.
        alpha: how steeply ε falls: the last environment has base^(1 + alpha).
        anneal_frames: env frames over which each ε_i falls from 1 in a line; 0 means that it stays ε_i.
    """

    base: Share
    alpha: NonNegative
    anneal_frames: Count

    def build(self, context: ExplorationContext) -> "EpsLadder":
        return EpsLadder(self, context.numbers, context.total)


class EpsLadder(Exploration):
    """One ε per environment, in the order of the environments: the rungs `rungs` of `total`."""

    def __init__(self, settings: EpsLadderSpec, rungs: Sequence[int], total: int) -> None:
        self._anneal_frames = settings.anneal_frames
        place = torch.tensor(rungs, dtype=torch.float64) / max(1, total - 1)
        self._end = settings.base ** (1 + settings.alpha * place)
        self.anneal(0)

    def anneal(self, frames: int) -> float:
        above = linear(frames, start=1.0, end=0.0, over=self._anneal_frames)
        epsilon = self._end + above * (1 - self._end)
        self._epsilon = epsilon.float()
        return epsilon.mean().item()

    def choose(self, values: Tensor) -> Tensor:
        """Action values [N, A] of all environments, in their order → actions [N].

        Raises:
            ValueError: there are not as many values as environments.
        """
        if len(values) != len(self._epsilon):
            raise ValueError(f"values of {len(values)} environments for {len(self._epsilon)} ε")
        return eps_greedy(values, self._epsilon.to(values.device))

    def probability(self, values: Tensor, action: Tensor) -> Tensor:
        return eps_greedy_probability(values, action, self._epsilon.to(values.device))


def boltzmann(values: Tensor, *, temperature: float, clip: float) -> Tensor:
    """Softmax of values / temperature, [N, A] → [N, A].

    The best action's value is taken off before it is clipped, which changes no probability but makes overflow
    impossible. keras-rl clips values / temperature themselves to ±clip: the same up to there, but beyond, good and
    best become equal, and a low temperature would choose among them at random.

    Args:
        values: action values.
        temperature: above 0; towards 0 the best action is certain, towards ∞ all are equally likely.
        clip: how many temperatures below the best an action counts as at most.
    """
    below = values - values.amax(-1, keepdim=True)
    return (below / temperature).clamp(min=-clip).softmax(-1)


@spec
class BoltzmannSpec(LinearScheduleSpec):
    """Boltzmann exploration: the better an action's value, the likelier; the temperature falls in a line.

    It is in units of the values as the network gives them, so `loss.rescale_eps` above 0 wants a lower one.

    Source: Sutton & Barto, section 2.8; keras-rl's BoltzmannQPolicy has temperature 1 and clip 500.

    Attributes:
        start: temperature at frame 0.
        end: temperature from frame `anneal_frames` on.
        anneal_frames: length of the line, in env frames; 0 means `end` from the start.
        clip: an action that is worse than the best by more temperatures than this counts as worse by these: none is
            less likely than exp(−clip) times the best.
    """

    metrics = (Metric("train/temperature", "value", "temperature of the softmax over values (Boltzmann)"),)

    start: PositiveFloat
    end: PositiveFloat
    anneal_frames: Count
    clip: PositiveFloat

    def build(self, context: ExplorationContext) -> "Boltzmann":
        """Make the rule, the same in all environments."""
        return Boltzmann(self)


class Boltzmann(LinearSchedule):
    """One temperature for all environments."""

    metric = "train/temperature"

    def __init__(self, settings: BoltzmannSpec) -> None:
        super().__init__(settings)
        self._clip = settings.clip

    def choose(self, values: Tensor) -> Tensor:
        return self._probabilities(values).multinomial(1).squeeze(1)

    def probability(self, values: Tensor, action: Tensor) -> Tensor:
        """Of the softmax; ties share equally."""
        return self._probabilities(values).gather(1, action.unsqueeze(1)).squeeze(1)

    def _probabilities(self, values: Tensor) -> Tensor:
        return boltzmann(values, temperature=self.now, clip=self._clip)
