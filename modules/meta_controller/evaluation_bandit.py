"""The evaluator's own bandit: which arm the score is made with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from modules.meta_controller.base import MetaController
from modules.meta_controller.ucb import SlidingWindowUcb

ONLY = torch.zeros(1, dtype=torch.int64)  # the only controller


class EvaluationBandit(MetaController):
    """One `bandit`, a single controller, for all environments: it chooses arms while `trying`, else its best acts."""

    def __init__(self, bandit: SlidingWindowUcb, *, tries: int) -> None:
        self.tries = tries
        self._bandit, self._trying = bandit, False
        self._playing = torch.zeros_like(bandit.counts())  # [1, n]; episodes that other environments are in

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Let the bandit choose the arms of the episodes that start inside, and hear how they end."""
        self._trying = True
        self._playing.zero_()
        try:
            yield
        finally:
            self._trying = False

    def choose(self, which: Tensor) -> Tensor:
        if not self._trying:
            return torch.full((len(which),), self.greedy())
        arms = torch.empty(len(which), dtype=torch.int64)
        for k in range(len(which)):
            arms[k : k + 1] = self._bandit.choose(ONLY, playing=self._playing)
            self._playing[0, arms[k]] += 1
        return arms

    def update(self, which: Tensor, arms: Tensor, returns: Tensor) -> None:
        for k in range(len(which) if self._trying else 0):
            self._bandit.update(ONLY, arms[k : k + 1], returns[k : k + 1])
            self._playing[0, arms[k]] -= 1

    def greedy(self) -> int:
        return self._bandit.greedy()

    def state_dict(self) -> dict[str, Any]:
        return self._bandit.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._bandit.load_state_dict(state)
