"""The policy as training's own evaluations and films see it: averaged weights, and a world of its own to act in."""

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torchrl.envs import EnvBase

from modules.evaluation import Episodes, Watch, run_episodes
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.meta_controller import FixedArm, MetaContext, MetaController
from modules.networks.network import Policy, RecurrentNetwork
from modules.networks.two_streams import TwoStreamNetwork
from modules.seeding import Purpose, seed_for
from pipelines.agent.agent_env import CPU, AgentEnv, evaluation_env
from pipelines.agent.film import film
from pipelines.config.schema import RunConfig


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Acts without exploring, and leaves no trace in training.

    Attributes:
        run: the settings.
        network: on the CPU, beside the environments; the loop pushes the averaged weights to it.
        policy: takes its best action.
        curiosity: a copy of training's, whose statistics continue with what is seen here.
        around: what novelty and family add to the environments; its meta-controller chooses the arm that is evaluated.
        env: the environments.
        learning: the curiosity of training; episodes begin with what it has learned.
        acting: the bonus of training; they begin with its running statistics.
    """

    run: RunConfig
    network: nn.Module
    policy: Policy
    intrinsic_model: IntrinsicModel
    agent_env: AgentEnv
    env: EnvBase
    learning: IntrinsicModel
    acting: IntrinsicReward

    @property
    def bandit(self) -> MetaController:
        """What chooses the arm."""
        return self.agent_env.meta

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
            return self._episodes("evaluation", self.run.eval_episodes, watch, frames)
        except BaseException:
            self.bandit.load_state_dict(before)
            raise

    def _episodes(self, purpose: Purpose, episodes: int, watch: Watch, frames: int) -> Episodes:
        self.intrinsic_model.load_state_dict(self.learning.state_dict())
        self.agent_env.intrinsic_reward.adopt(self.acting)
        seed = seed_for(self.run.seed, purpose, frames)
        return run_episodes(self.env, self.policy, episodes=episodes, seed=seed, watch=watch)

    def film(self, path: Path, watch: Watch) -> None:
        """Film episodes with the arm that is evaluated."""
        meta = FixedArm(self.bandit.greedy())
        agent_env = evaluation_env(self.run, self.intrinsic_model, 1, like=self.acting, meta=meta)
        film(self.run, self.policy, agent_env, seed=self.run.seed, path=path, watch=watch)


def build_evaluator(
    run: RunConfig,
    network: RecurrentNetwork | TwoStreamNetwork,
    learning: IntrinsicModel,
    intrinsic_reward: IntrinsicReward,
) -> Evaluator:
    """Make the greedy side of a run.

    Args:
        run: the settings.
        network: whose copy acts here.
        learning: of training.
        intrinsic_reward: of training; with its running statistics the one here begins.
    """
    network = copy.deepcopy(network).requires_grad_(False).eval()
    intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
    envs = min(run.eval_episodes, run.eval_envs)
    evaluator = run.meta.build_evaluation_bandit(MetaContext(environments=envs, seed=seed_for(run.seed, "evaluator")))
    agent_env = evaluation_env(run, intrinsic_model, envs, like=intrinsic_reward, meta=evaluator)
    return Evaluator(
        run=run,
        network=network,
        policy=Policy(network),
        intrinsic_model=intrinsic_model,
        agent_env=agent_env,
        env=agent_env.build(envs),
        learning=learning,
        acting=intrinsic_reward,
    )
