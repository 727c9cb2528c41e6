"""The policy as training's own evaluations and films see it: averaged weights, and a world of its own to act in."""

import copy
from pathlib import Path

from modules.evaluation import Episodes, Watch, run_episodes
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.meta_controller import FixedArm, MetaContext
from modules.networks.network import RecurrentNetwork
from modules.networks.tensordict_modules import Policy
from modules.networks.two_streams import TwoStreamNetwork
from modules.seeding import Purpose, seed_for
from pipelines.agent.agent_env import CPU, evaluation_env
from pipelines.agent.film import film
from pipelines.config.schema import RunConfig


class Evaluator:
    """Acts without exploring, and leaves no trace in training.

    Args:
        run: the settings.
        network: of training; a copy acts, on the CPU beside the environments.
        learning: the intrinsic model of training; episodes begin with what it has learned.
        acting: the bonus of training; they begin with its running statistics.

    Attributes:
        network: the copy; the loop pushes the averaged weights to it.
        bandit: chooses the arm that is evaluated.
        env: the environments.
    """

    def __init__(
        self,
        run: RunConfig,
        network: RecurrentNetwork | TwoStreamNetwork,
        learning: IntrinsicModel,
        acting: IntrinsicReward,
    ) -> None:
        self._run, self._learning, self._acting = run, learning, acting
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._policy = Policy(self.network)
        self._intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
        envs = run.evaluation_envs
        self.bandit = run.meta.build_evaluation_bandit(MetaContext.all_of(envs, seed=seed_for(run.seed, "evaluator")))
        self._agent_env = evaluation_env(run, self._intrinsic_model, envs, like=acting, meta=self.bandit)
        self.env = self._agent_env.build(envs)

    def evaluate(self, watch: Watch, *, frames: int) -> Episodes:
        """Run the episodes of an evaluation, after those, if any, by which the evaluator chooses their arm.

        Args:
            watch: as `run_episodes` has it, and with what it raises the evaluator goes back to where it was.
            frames: that training has come to; the episodes' seeds follow from it.
        """
        before = copy.deepcopy(self.bandit.state_dict())
        try:
            if self.bandit.tries:
                with self.bandit.trying():
                    self._episodes("evaluator", self.bandit.tries, watch, frames)
            return self._episodes("evaluation", self._run.eval_episodes, watch, frames)
        except BaseException:
            self.bandit.load_state_dict(before)
            raise

    def _episodes(self, purpose: Purpose, episodes: int, watch: Watch, frames: int) -> Episodes:
        self._intrinsic_model.load_state_dict(self._learning.state_dict())
        self._agent_env.intrinsic_reward.adopt(self._acting)
        seed = seed_for(self._run.seed, purpose, frames)
        return run_episodes(self.env, self._policy, episodes=episodes, seed=seed, watch=watch)

    def film(self, path: Path, watch: Watch) -> None:
        """Film episodes with the arm that is evaluated."""
        meta = FixedArm(self.bandit.greedy())
        agent_env = evaluation_env(self._run, self._intrinsic_model, 1, like=self._acting, meta=meta)
        film(self._policy, agent_env, seed=self._run.seed, path=path, watch=watch)
