"""Exploration: how the acting policy leaves the greedy path."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field
from tensordict.nn import TensorDictSequential
from torchrl.data import Categorical
from torchrl.modules import EGreedyModule

from modules import keys
from modules.schedule import linear
from modules.spec import Spec, spec

Probability = Annotated[float, Field(ge=0, le=1)]


@spec
class EpsGreedySpec(Spec):
    """ε-greedy: a uniformly random action with probability ε, annealed linearly in env frames.

    Attributes:
        start: ε at frame 0.
        end: ε from frame `anneal_frames` on.
        anneal_frames: length of the line, in env frames.
    """

    start: Probability
    end: Probability
    anneal_frames: Annotated[int, Field(gt=0)]

    def needs(self, run: Any) -> Iterator[str]:
        """ε only falls."""
        del run
        if self.end > self.start:
            yield f"exploration.end={self.end} must not exceed exploration.start={self.start}"

    def build(self, greedy: TensorDictSequential, n_actions: int) -> "EpsGreedy":
        """Wrap a greedy policy."""
        return EpsGreedy(self, greedy, n_actions)


class EpsGreedy:
    """The acting policy and its ε; `policy` is what the collector runs."""

    def __init__(self, settings: EpsGreedySpec, greedy: TensorDictSequential, n_actions: int) -> None:
        self._settings = settings
        self._module = EGreedyModule(
            spec=Categorical(n_actions),
            eps_init=1.0,
            eps_end=0.0,
            annealing_num_steps=1,
            action_key=keys.ACTION,
        )
        self.policy = TensorDictSequential([greedy, self._module])
        self.anneal(0)

    def anneal(self, frames: int) -> float:
        """Set ε for frame `frames` and return it (TorchRL's own annealing loops in Python over frames)."""
        s = self._settings
        epsilon = linear(frames, start=s.start, end=s.end, over=s.anneal_frames)
        self._module.eps.fill_(epsilon)  # pyright: ignore[reportCallIssue]
        return epsilon
