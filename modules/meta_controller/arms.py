"""Arms: a family of policies, each with its weight β of the intrinsic reward and its discount γ."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from modules.spec import NonNegative, RunConfig, Spec, UsageError, spec

Discount = Annotated[float, Field(ge=0, lt=1)]
FEWEST = 10  # arms of Agent57's ladder, whose last branch divides by n − 9


@dataclass(frozen=True)
class Arms:
    """Rising weights β of the intrinsic reward and falling discounts γ, [n] and float32 each.

    Arm 0 exploits (β = 0 if there is another) and looks furthest ahead.
    """

    beta: Tensor
    gamma: Tensor


@spec
class ArmsSpec(Spec):
    """Arms from pure exploitation (β = 0, far-sighted) to most curiosity (β, short-sighted).

    Attributes:
        n: number of arms. One arm alone is the curious one, with β and `gamma_max`: NGU's N = 1 (table 7, Disco
            Maze) has only an exploring policy.
        beta: largest weight of the intrinsic reward.
        ladder: "ngu", γ log-spaced from `gamma_max` to `gamma_min`, for any n; "agent57", whose arms 0 … 6 fall from
            `gamma_max` to `gamma_mid` and whose arms from 8 on are log-spaced from there to `gamma_min`, for n ≥ 10.
        gamma_max: γ of arm 0.
        gamma_mid: γ of arm 7 under "agent57"; "ngu" does not read it.
        gamma_min: γ of the last arm.
    """

    n: Annotated[int, Field(gt=0, le=10_000)]
    beta: NonNegative
    ladder: Literal["ngu", "agent57"]
    gamma_max: Discount
    gamma_mid: Discount
    gamma_min: Discount

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from self.problems()

    def problems(self) -> Iterator[str]:
        """Say what is wrong with the numbers: too few arms for the ladder, or a γ that rises."""
        if self.ladder == "agent57" and self.n < FEWEST:
            yield (
                f"meta.arms.n={self.n}: meta.arms.ladder=agent57 needs at least {FEWEST} arms;"
                " for fewer take meta.arms.ladder=ngu, log-spaced from gamma_max to gamma_min"
            )
        if self.gamma_min > self.gamma_max:
            yield f"meta.arms.gamma_min={self.gamma_min} must not exceed meta.arms.gamma_max={self.gamma_max}"
        elif self.ladder == "agent57" and not self.gamma_min <= self.gamma_mid <= self.gamma_max:
            yield (
                f"meta.arms.gamma_mid={self.gamma_mid} must lie between meta.arms.gamma_min={self.gamma_min}"
                f" and meta.arms.gamma_max={self.gamma_max}"
            )

    def build(self) -> Arms:
        """Make the table.

        Raises:
            UsageError: the numbers do not fit the ladder.
        """
        if problems := [*self.problems()]:
            raise UsageError("; ".join(problems))
        if self.ladder == "ngu":
            gamma = log_spaced(self.gamma_max, self.gamma_min, self.n)
        else:
            gamma = agent57_gammas(self.n, self.gamma_max, self.gamma_mid, self.gamma_min)
        return Arms(beta=ngu_betas(self.n, self.beta).float(), gamma=gamma.float())


def ngu_betas(n: int, beta: float) -> Tensor:
    """Weights of the intrinsic reward: β_i = β σ(10 (2i − (n−2)) / (n−2)) between β_0 = 0 and β_{n−1} = β.

    Returns:
        [n], float64; of one arm, β. Source: NGU, appendix A; Agent57 keeps it.
    """
    i = torch.arange(n, dtype=torch.float64)
    betas = beta * (10 * (2 * i - (n - 2)) / max(1, n - 2)).sigmoid()  # with n ≤ 2 the ends are all there is
    betas[0] = 0
    betas[-1] = beta
    return betas


def log_spaced(first: float, last: float, n: int) -> Tensor:
    """Discounts whose log(1 − γ) are evenly spaced; of one, `first`.

    Returns:
        [n], float64. Source: NGU, appendix A.
    """
    share = torch.arange(n, dtype=torch.float64) / max(1, n - 1)
    return 1 - (1 - first) ** (1 - share) * (1 - last) ** share


def agent57_gammas(n: int, gamma_max: float, gamma_mid: float, gamma_min: float) -> Tensor:
    """Discounts of Agent57: arm 0, a sigmoid over arms 1 … 6, arm 7, and log-spaced from arm 8 to the last.

    Deviation: the paper prints ladders that rise, with i for j and the ends of both branches swapped, against its
    own text (low γ with high β); here they fall, from `gamma_max` over `gamma_mid` to `gamma_min`.

    Returns:
        [n], float64, n ≥ 10. Source: Agent57, appendix, corrected.
    """
    j = torch.arange(1, 7, dtype=torch.float64)
    falling = gamma_max + (gamma_mid - gamma_max) * (10 * (2 * j - 6) / 6).sigmoid()
    first, seventh = falling.new_tensor([gamma_max]), falling.new_tensor([gamma_mid])
    return torch.cat((first, falling, seventh, log_spaced(gamma_mid, gamma_min, n - 8)))
