"""Agent57's meta-controller: a sliding-window bandit per environment, over the returns of whole episodes."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, InstanceOf
from torch import Tensor

from modules.meta.arms import Arms, ArmsSpec
from modules.meta.base import Meta, MetaSpec, load, refuse_impossible, refuse_twice
from modules.spec import spec

Normalise = Literal["none", "window"]


@spec
class BanditSpec(MetaSpec):
    """Sliding-window UCB with ε-greedy choices.

    Source: Agent57 (Badia et al. 2020), an actor's meta-controller, and appendix. Deviation: `normalise` = "window".

    Attributes:
        window: episodes that each controller remembers, τ; no fewer than there are arms.
        ucb_beta: weight β of the bonus β √(1/N), in units of (normalised) return.
        epsilon: probability of a uniformly random arm.
        normalise: "none", as in the paper, or "window": mean returns are scaled by the lowest and the highest return
            in the controller's window to 0 … 1, or are 0.5 where those are equal. Returns of 1000 would drown the
            bonus, returns of 0 … 0.1 would drown in it.
        arms: the family of policies.
    """

    window: Annotated[int, Field(gt=0)]
    ucb_beta: Annotated[float, Field(ge=0)]
    epsilon: Annotated[float, Field(ge=0, le=1)]
    normalise: Normalise
    arms: InstanceOf[ArmsSpec]

    def needs(self, run: Any) -> Iterator[str]:
        """Every arm fits into the window; with fewer places some arm would always be untried, and come first."""
        del run
        if self.window < self.arms.n:
            yield f"meta.window={self.window} must be at least the number of arms, meta.arms.n={self.arms.n}"

    def table(self, gamma: float) -> Arms:
        """Make the table of arms, which have discounts of their own."""
        del gamma
        return self.arms.build()

    def build(self, controllers: int, *, seed: int) -> "SlidingWindowUcb":
        """Make the controllers, with a random stream of their own."""
        return SlidingWindowUcb(self, controllers=controllers, seed=seed)


class SlidingWindowUcb(Meta):
    """Chooses the arm with the best mean return over the last τ episodes, plus a bonus for those seldom tried.

    Episode t of controller e lies in column t mod τ of row e of a ring [E, τ]. Counts and means are formed anew from
    it each time: no error piles up, and nothing outlives the window.
    """

    def __init__(self, settings: BanditSpec, *, controllers: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._settings = settings
        self._n = settings.arms.n
        self._arms = torch.full((controllers, settings.window), self._n)  # n stands for no episode
        self._returns = torch.zeros(controllers, settings.window, dtype=torch.float64)
        self._finished = torch.zeros(controllers, dtype=torch.int64)  # episodes
        self._chosen = torch.zeros(controllers, dtype=torch.int64)

    def choose(self, which: Tensor) -> Tensor:
        """Choose an arm for the next episode of each controller.

        A_k = k for k < n; then, with probability ε, any arm, else argmax_a μ(a) + β √(1/N(a)), where an arm that is not
        in the window comes first. Of equal arms the first is chosen. UCB1's logarithm is absent, as in the paper.
        """
        which = which.cpu()
        refuse_twice(which)
        k = self._chosen[which]
        self._chosen[which] += 1
        explores = torch.rand(len(which), generator=self.generator) < self._settings.epsilon
        anything = torch.randint(self._n, (len(which),), generator=self.generator)
        arms = torch.where(explores, anything, self._bounds(which).argmax(1))
        return torch.where(k < self._n, k, arms)

    def update(self, which: Tensor, arms: Tensor, returns: Tensor) -> None:
        """Write finished episodes over the oldest."""
        which, arms, returns = which.cpu(), arms.cpu(), returns.detach().to("cpu", torch.float64)
        refuse_impossible(which, arms, returns, self._n)
        column = self._finished[which] % self._settings.window
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

    def means(self) -> Tensor:
        """Mean return of these episodes, not normalised, [E, n]."""
        return self._sums(self._arms, self._returns) / self.counts()

    def state_dict(self) -> dict[str, Any]:
        """What the next choices depend on."""
        state = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return state | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was taken."""
        load(self._tensors(), state)
        self.generator.set_state(state["generator"])

    def _tensors(self) -> dict[str, Tensor]:
        return {"arms": self._arms, "returns": self._returns, "finished": self._finished, "chosen": self._chosen}

    def _sums(self, arms: Tensor, values: Tensor) -> Tensor:
        """Sum `values` [m, τ] by arm → [m, n]."""
        return values.new_zeros(len(arms), self._n + 1).scatter_add_(1, arms, values)[:, : self._n]

    def _bounds(self, which: Tensor) -> Tensor:
        """Upper confidence bound of each arm, [m, n]; infinite for an arm that is not in the window."""
        arms, returns = self._arms[which], self._returns[which]
        counts = self._sums(arms, torch.ones_like(returns))
        means = self._sums(arms, returns) / counts
        if self._settings.normalise == "window":
            empty = arms == self._n
            low = torch.where(empty, torch.inf, returns).amin(1, keepdim=True)
            span = torch.where(empty, -torch.inf, returns).amax(1, keepdim=True) - low
            means = torch.where(span > 0, (means - low) / span, 0.5)
        return torch.where(counts > 0, means + self._settings.ucb_beta * (1 / counts).sqrt(), torch.inf)
