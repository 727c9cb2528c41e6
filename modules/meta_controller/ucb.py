"""A sliding-window bandit per environment, over the returns of whole episodes."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from modules.meta_controller.base import MetaController, load, refuse_impossible, refuse_twice

Normalise = Literal["none", "window"]


class SlidingWindowUcb(MetaController):
    """Chooses the arm with the best mean return over the last τ episodes, plus a bonus for those seldom tried.

    Episode t of controller e lies in column t mod τ of row e of a ring [E, τ]. Counts and means are formed again from
    it each time: no error piles up, and nothing outlives the window.

    Source: Agent57 (Badia et al. 2020), appendix. There every controller tries the arms in the order 0, 1, 2, …; here
    the controller of environment e begins with arm e: all would spend their first episodes alike.

    It has `n` arms, and a controller for the environment of each of `numbers`; `seed` is that of the random arms, and
    the others are settings of `BanditSpec`.
    """

    def __init__(
        self, *, n: int, window: int, ucb_beta: float, epsilon: float, normalise: Normalise, numbers: range, seed: int
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._n, self._window, self._beta, self._epsilon, self._normalise = n, window, ucb_beta, epsilon, normalise
        controllers, self._first = len(numbers), numbers.start
        self._arms = torch.full((controllers, window), n)  # n stands for no episode
        self._returns = torch.zeros(controllers, window, dtype=torch.float64)
        self._finished = torch.zeros(controllers, dtype=torch.int64)  # episodes
        self._chosen = torch.zeros(controllers, dtype=torch.int64)

    def choose(self, which: Tensor, playing: Tensor | None = None) -> Tensor:
        """Choose an arm for the next episode of each controller.

        Each arm once; then, with probability ε, any arm, else argmax_a μ(a) + β √(1/N(a)), where an arm that is not
        in the window comes first. Of equal arms the first is chosen. UCB1's logarithm is absent, as in the paper.

        Args:
            which: controllers, [m].
            playing: episodes that are not over yet, [m, n]; they count in N, and where an arm has no others, its mean
                is that of all arms.
        """
        which = which.cpu()
        refuse_twice(which)
        k = self._chosen[which]
        self._chosen[which] += 1
        explores = torch.rand(len(which), generator=self.generator) < self._epsilon
        anything = torch.randint(self._n, (len(which),), generator=self.generator)
        arms = torch.where(explores, anything, self._bounds(which, playing).argmax(1))
        return torch.where(k < self._n, (k + self._first + which) % self._n, arms)

    def update(self, which: Tensor, arms: Tensor, returns: Tensor) -> None:
        which, arms, returns = which.cpu(), arms.cpu(), returns.detach().to("cpu", torch.float64)
        refuse_impossible(which, arms, returns, self._n)
        column = self._finished[which] % self._window
        self._arms[which, column] = arms
        self._returns[which, column] = returns
        self._finished[which] += 1

    def greedy(self) -> int:
        """Return the arm of the highest mean return, over the windows of all controllers together.

        Arms in no window come last; before the first episode it is arm 0, the one that exploits.
        """
        counts = self.counts().sum(0)
        means = self._sums(self._arms, self._returns).sum(0) / counts
        return int(torch.where(counts > 0, means, -torch.inf).argmax())

    def counts(self) -> Tensor:
        """How many of its last τ episodes each controller spent on each arm, [E, n]."""
        return self._sums(self._arms, torch.ones_like(self._arms))

    def state_dict(self) -> dict[str, Any]:
        state = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return state | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load(self._tensors(), state)
        self.generator.set_state(state["generator"])

    def _tensors(self) -> dict[str, Tensor]:
        return {"arms": self._arms, "returns": self._returns, "finished": self._finished, "chosen": self._chosen}

    def _sums(self, arms: Tensor, values: Tensor) -> Tensor:
        """Sum `values` [m, τ] by arm → [m, n]."""
        return values.new_zeros(len(arms), self._n + 1).scatter_add_(1, arms, values)[:, : self._n]

    def _bounds(self, which: Tensor, playing: Tensor | None) -> Tensor:
        """Upper confidence bound of each arm, [m, n]; infinite for an arm that is not in the window."""
        arms, returns = self._arms[which], self._returns[which]
        finished = self._sums(arms, torch.ones_like(returns))
        sums, counts = self._sums(arms, returns), finished if playing is None else finished + playing
        overall = sums.sum(1, keepdim=True) / finished.sum(1, keepdim=True).clamp_min(1)
        means = torch.where(finished > 0, sums / finished, overall)
        if self._normalise == "window":
            empty = arms == self._n
            low = torch.where(empty, torch.inf, returns).amin(1, keepdim=True)
            span = torch.where(empty, -torch.inf, returns).amax(1, keepdim=True) - low
            means = torch.where(span > 0, (means - low) / span, 0.5)
        return torch.where(counts > 0, means + self._beta * (1 / counts).sqrt(), torch.inf)
