"""Environments of a run with everything around them: arm, intrinsic reward, recurrent state, previous step."""

from dataclasses import dataclass

import torch
from torchrl.envs import Compose, Transform, TransformedEnv

from modules.envs.base import LastStep
from modules.intrinsic import Bonus, Curiosity, IntrinsicReward
from modules.meta import ArmPerEpisode, Meta
from pipelines.schema import Run

CPU = torch.device("cpu")  # where environments and what surrounds them live


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What novelty and family add to environments that step together.

    `max_steps` is where their episodes are cut off whatever the environment says; None for training's, which may go on.
    """

    run: Run
    bonus: Bonus
    meta: Meta
    max_steps: int | None

    def transforms(self) -> list[Transform]:
        """Make the transforms, in the order in which they read each other."""
        run = self.run
        last = [] if self.max_steps is None else [LastStep(self.max_steps, "eval_max_steps")]
        arm = [] if run.meta.single else [ArmPerEpisode(self.meta, run.spaces.n_arms)]
        novelty = [IntrinsicReward(self.bonus)] if run.intrinsic.rewards else []
        return [*last, *arm, *novelty, *run.network.transforms()]

    def primer(self) -> Transform:
        """Make them as one; TorchRL finds no parent of a transform that is in a Compose in a Compose in a Compose."""
        return Compose(self.transforms())

    def build(self, num_envs: int, *, video: bool = False) -> TransformedEnv:
        """Make the environments."""
        return self.run.env.build(num_envs, self.primer(), video=video)


def greedy_surroundings(run: Run, curiosity: Curiosity, num_envs: int, *, like: Bonus, meta: Meta) -> Surroundings:
    """Make those of an evaluation: an arm of its own, and a bonus only as an input to the network.

    Args:
        run: of the policy.
        curiosity: what the bonus is made by; its statistics go on with what is seen here.
        num_envs: environments that step together.
        like: bonus whose running statistics to begin with.
        meta: says which arm acts.
    """
    bonus = curiosity.acting(num_envs)
    bonus.adopt(like)
    return Surroundings(run=run, bonus=bonus, meta=meta, max_steps=run.eval_max_steps)
