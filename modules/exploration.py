"""Exploration: how the acting policy leaves the greedy path."""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

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

    def build(self) -> "EpsGreedy":
        """Make the rule by which the acting policy chooses."""
        return EpsGreedy(self)


class EpsGreedy:
    """Chooses actions from values; ε is that of the last `anneal`."""

    def __init__(self, settings: EpsGreedySpec) -> None:
        self._settings = settings
        self.anneal(0)

    def anneal(self, frames: int) -> float:
        """Set ε for frame `frames` and return it."""
        s = self._settings
        self._epsilon = linear(frames, start=s.start, end=s.end, over=s.anneal_frames)
        return self._epsilon

    def choose(self, values: Tensor) -> Tensor:
        """Action values [N, A] → actions [N]; draws from PyTorch's global generator."""
        n, n_actions = values.shape
        explores = torch.rand(n, device=values.device) < self._epsilon
        anything = torch.randint(n_actions, (n,), device=values.device)
        return torch.where(explores, anything, values.argmax(-1))
