"""Environments of a run with everything around them: arm, intrinsic reward, recurrent state, previous step."""

from dataclasses import dataclass

from torchrl.envs import Compose, Transform, TransformedEnv

from modules.intrinsic import Bonus, Curiosity, IntrinsicReward
from modules.meta import ArmPerEpisode, FixedArm, Meta
from pipelines.schema import Run


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What novelty and family add to environments that step together."""

    run: Run
    bonus: Bonus
    meta: Meta

    def primer(self) -> Transform:
        """Make the transforms, in the order in which they read each other."""
        run = self.run
        arm = [] if run.meta.single else [ArmPerEpisode(self.meta, run.spaces.n_arms)]
        novelty = [IntrinsicReward(self.bonus)] if run.intrinsic.rewards else []
        return Compose(*arm, *novelty, run.network.primer())

    def build(self, num_envs: int, *, video: bool = False) -> TransformedEnv:
        """Make the environments."""
        return self.run.env.build(num_envs, self.primer(), video=video)


def greedy_surroundings(run: Run, curiosity: Curiosity, num_envs: int, *, arm: int = 0) -> Surroundings:
    """Make those of an evaluation: one arm, and a bonus only as an input to the network."""
    fixed = FixedArm(num_envs)
    fixed.arm = arm
    return Surroundings(run=run, bonus=curiosity.acting(num_envs), meta=fixed)
