"""The policy as training's own evaluations and films see it: averaged weights, and a world of its own to act in."""

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torchrl.envs import EnvBase

from modules.evaluation import Episodes, Watch, run_episodes
from modules.intrinsic import Bonus, Curiosity
from modules.meta import FixedArm, Meta
from modules.networks.network import Policy, RecurrentNetwork
from modules.networks.two_streams import TwoStreamNetwork
from modules.seeding import seed_for
from pipelines.around import CPU, Surroundings, greedy_surroundings
from pipelines.film import film
from pipelines.schema import Run


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Acts without exploring, and leaves no trace in training.

    Attributes:
        run: the settings.
        network: on the CPU, beside the environments; the loop pushes the averaged weights to it.
        policy: takes its best action.
        curiosity: a copy of training's, whose statistics go on with what is seen here.
        around: what novelty and family add to the environments; its meta-controller chooses the arm that is evaluated.
        env: the environments.
        learning: the curiosity of training; episodes begin with what it has learned.
        acting: the bonus of training; they begin with its running statistics.
    """

    run: Run
    network: nn.Module
    policy: Policy
    curiosity: Curiosity
    around: Surroundings
    env: EnvBase
    learning: Curiosity
    acting: Bonus

    @property
    def evaluator(self) -> Meta:
        """What chooses the arm."""
        return self.around.meta

    def evaluate(self, watch: Watch, *, frames: int) -> Episodes:
        """Run the episodes of an evaluation, after those, if any, by which the evaluator chooses their arm.

        Args:
            watch: as `run_episodes` has it, and with what it raises the evaluator goes back to where it was.
            frames: that training has come to; the episodes' seeds follow from it.
        """
        before = copy.deepcopy(self.evaluator.state_dict())
        try:
            if self.evaluator.tries:
                with self.evaluator.trying():
                    self._episodes("evaluator", self.evaluator.tries, watch, frames)
            return self._episodes("evaluation", self.run.eval_episodes, watch, frames)
        except BaseException:
            self.evaluator.load_state_dict(before)
            raise

    def _episodes(self, purpose: str, episodes: int, watch: Watch, frames: int) -> Episodes:
        self.curiosity.load_state_dict(self.learning.state_dict())
        self.around.bonus.adopt(self.acting)
        seed = seed_for(self.run.seed, purpose, frames)
        return run_episodes(self.env, self.policy, episodes=episodes, seed=seed, watch=watch)

    def film(self, path: Path, watch: Watch) -> None:
        """Film episodes with the arm that is evaluated."""
        meta = FixedArm(self.evaluator.greedy())
        around = greedy_surroundings(self.run, self.curiosity, 1, like=self.acting, meta=meta)
        film(self.run, self.policy, around, seed=self.run.seed, path=path, watch=watch)


def build_greedy(run: Run, network: RecurrentNetwork | TwoStreamNetwork, learning: Curiosity, bonus: Bonus) -> Greedy:
    """Make the greedy side of a run.

    Args:
        run: the settings.
        network: whose copy acts here.
        learning: of training.
        bonus: of training; with its running statistics the one here begins.
    """
    network = copy.deepcopy(network).requires_grad_(False).eval()
    curiosity = run.intrinsic.build(run.spaces, CPU)
    envs = min(run.eval_episodes, run.eval_envs)
    evaluator = run.meta.build_evaluator(envs, seed=seed_for(run.seed, "evaluator"))
    around = greedy_surroundings(run, curiosity, envs, like=bonus, meta=evaluator)
    return Greedy(
        run=run,
        network=network,
        policy=Policy(network),
        curiosity=curiosity,
        around=around,
        env=around.build(envs),
        learning=learning,
        acting=bonus,
    )
