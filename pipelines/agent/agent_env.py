"""Environments of a run with everything around them: arm, intrinsic reward, recurrent state, previous step."""

from dataclasses import dataclass

import torch
from torchrl.envs import Transform, TransformedEnv

from modules.envs.base import EnvContext, LastStep
from modules.intrinsic import IntrinsicModel, IntrinsicReward, IntrinsicRewardTransform
from modules.meta_controller import ArmPerEpisode, MetaController
from pipelines.config.schema import RunConfig

CPU = torch.device("cpu")  # where environments and what surrounds them live


@dataclass(frozen=True, kw_only=True)
class AgentEnv:
    """What novelty and family add to environments that step together.

    `max_steps` is where their episodes are cut off whatever the environment says; None in training.
    """

    run: RunConfig
    intrinsic_reward: IntrinsicReward
    meta: MetaController
    max_steps: int | None

    def transforms(self) -> list[Transform]:
        """Make the transforms, in the order in which they read each other."""
        run = self.run
        last = [] if self.max_steps is None else [LastStep(self.max_steps, "eval_max_steps")]
        arm = [] if run.meta.single else [ArmPerEpisode(self.meta, run.spaces.n_arms)]
        novelty = [IntrinsicRewardTransform(self.intrinsic_reward)] if run.intrinsic.rewards else []
        return [*last, *arm, *novelty, *run.network.transforms()]

    def build(self, num_envs: int, *, video: bool = False) -> TransformedEnv:
        """Make the environments."""
        return self.run.env.build(EnvContext(num_envs, self.transforms(), video))


def evaluation_env(
    run: RunConfig, intrinsic_model: IntrinsicModel, num_envs: int, *, like: IntrinsicReward, meta: MetaController
) -> AgentEnv:
    """Make those of an evaluation: `meta` says which arm acts, and a bonus is only an input to the network.

    It begins with the running statistics of `like`; those of `intrinsic_model`, which makes it, continue with what is
    seen here.
    """
    intrinsic_reward = intrinsic_model.acting(num_envs)
    intrinsic_reward.adopt(like)
    return AgentEnv(run=run, intrinsic_reward=intrinsic_reward, meta=meta, max_steps=run.eval_max_steps)
