"""What every environment offers: its spaces without building it, vectorised building, a picture."""

import numpy as np
from torchrl.envs import Compose, EnvBase, InitTracker, RewardSum, StepCounter, Transform, TransformedEnv

from modules import keys
from modules.keys import Spaces
from modules.spec import Spec


class EnvSpec(Spec):
    """Settings of an environment."""

    def spaces(self) -> Spaces:
        """Look up observation and action spaces; raises `UsageError` for what cannot be trained on."""
        raise NotImplementedError

    def build(self, num_envs: int, primer: Transform | None, *, video: bool = False) -> TransformedEnv:
        """Make `num_envs` environments that step together; `video` lets `picture` work."""
        raise NotImplementedError

    def picture(self, env: EnvBase) -> np.ndarray:
        """Draw the first environment as it is now, [H, W, 3], uint8."""
        raise NotImplementedError


def transformed(env: EnvBase, primer: Transform | None) -> TransformedEnv:
    """Add what acting needs: episode starts, step count, undiscounted return, zero recurrent state."""
    transforms: list[Transform] = [
        InitTracker(init_key=keys.IS_INIT),
        StepCounter(),
        RewardSum(in_keys=[keys.REWARD], out_keys=[keys.EPISODE_RETURN]),
    ]
    if primer is not None:
        transforms.append(primer)
    return TransformedEnv(env, Compose(transforms))
