"""Settings of Agent57's meta-controllers: a bandit per environment, and one for evaluations."""

from collections.abc import Iterator

from pydantic import InstanceOf

from modules.meta_controller.base import MetaContext, PolicyFamilySpec
from modules.meta_controller.evaluation_bandit import EvaluationBandit
from modules.meta_controller.ucb import Normalise, SlidingWindowUcb
from modules.spec import NonNegative, Positive, RunConfig, Share, Spec, spec


@spec
class EvaluationBanditSpec(Spec):
    """Settings of the evaluator's bandit; weight of the bonus and normalisation are those of the actors' bandits.

    Source: Agent57 (Badia et al. 2020), appendix: the evaluator alternates episodes whose arms its own bandit chooses
    with episodes on the arm of the highest mean.

    Attributes:
        window: episodes that it remembers, τ; no fewer than there are arms.
        epsilon: probability of a uniformly random arm.
        episodes: whose arms the bandit chooses, before each evaluation; they do not count for the score.
    """

    window: Positive
    epsilon: Share
    episodes: Positive


@spec
class BanditSpec(PolicyFamilySpec):
    """Sliding-window UCB with ε-greedy choices.

    Source: Agent57 (Badia et al. 2020), an actor's meta-controller, and appendix. Deviation: `normalise` = "window".

    Attributes:
        window: episodes that each controller remembers, τ; no fewer than there are arms.
        ucb_beta: weight β of the bonus β √(1/N), in units of (normalised) return.
        epsilon: probability of a uniformly random arm.
        normalise: "none", as in the paper, or "window": mean returns are scaled by the lowest and the highest return
            in the controller's window to 0 … 1, or are 0.5 where those are equal. Returns of 1000 would drown the
            bonus, returns of 0 … 0.1 would drown in it.
        evaluator: the bandit that chooses the arm of evaluations.
    """

    window: Positive
    ucb_beta: NonNegative
    epsilon: Share
    normalise: Normalise
    evaluator: InstanceOf[EvaluationBanditSpec]

    def needs(self, run: RunConfig) -> Iterator[str]:
        """Every arm fits into the window; with fewer places some arm would always be untried, and come first."""
        for name, window in (("window", self.window), ("evaluator.window", self.evaluator.window)):
            if window < self.arms.n:
                yield f"meta.{name}={window} must be at least the number of arms, meta.arms.n={self.arms.n}"

    def build(self, context: MetaContext) -> SlidingWindowUcb:
        return self._bandit(self.window, self.epsilon, context.numbers, context.seed)

    def build_evaluation_bandit(self, context: MetaContext) -> EvaluationBandit:
        bandit = self._bandit(self.evaluator.window, self.evaluator.epsilon, range(1), context.seed)
        return EvaluationBandit(bandit, tries=self.evaluator.episodes)

    def _bandit(self, window: int, epsilon: float, numbers: range, seed: int) -> SlidingWindowUcb:
        return SlidingWindowUcb(
            n=self.arms.n,
            window=window,
            ucb_beta=self.ucb_beta,
            epsilon=epsilon,
            normalise=self.normalise,
            numbers=numbers,
            seed=seed,
        )
