"""Collection: vectorised environments that the acting policy steps, as batches [N, T]."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from tensordict import TensorDictBase
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.envs import EnvBase

from modules.spec import Spec, spec


@spec
class SyncSpec(Spec):
    """One process: act, then learn.

    Attributes:
        num_envs: environments that step together, N.
        steps: steps of each environment in a batch, T.
    """

    num_envs: Annotated[int, Field(gt=0)]
    steps: Annotated[int, Field(gt=0)]

    @property
    def frames_per_batch(self) -> int:
        """Env frames in one batch."""
        return self.num_envs * self.steps

    def build(self, env: EnvBase, policy: TensorDictSequential) -> "SyncCollection":
        """Make the collector."""
        return SyncCollection(self, env, policy)


class SyncCollection:
    """Endless batches from TorchRL's `Collector`, with environments that can start afresh."""

    def __init__(self, settings: SyncSpec, env: EnvBase, policy: TensorDictSequential) -> None:
        self._env = env
        self._collector = Collector(
            env,
            policy,
            frames_per_batch=settings.frames_per_batch,
            total_frames=-1,
            auto_register_policy_transforms=False,
            track_traj_ids=False,
        )
        self._batches = iter(self._collector)

    def __iter__(self) -> Iterator[TensorDictBase]:
        """Yield batches [N, T]."""
        return self._batches

    def restart(self, seed: int) -> None:
        """Abandon the running episodes and start all environments from `seed`."""
        self._env.set_seed(seed)
        self._collector.reset()

    def close(self) -> None:
        """Close the environments."""
        self._collector.shutdown()
