"""Collection in this process."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modules.collect.base import Actor, Collected, Collection, CollectorContext, CollectorSpec
from modules.spec import spec
from modules.torchrl_internals import Waiting


@spec
class SyncSpec(CollectorSpec):
    """One process: act, then learn."""

    def build(self, context: CollectorContext) -> "SyncCollection":
        return SyncCollection(self, context.actor)


class SyncCollection(Collection):
    """Endless batches from TorchRL's `Collector`, with environments that can start afresh; the one stream is 0."""

    def __init__(self, settings: CollectorSpec, actor: Actor) -> None:
        self._actor, self._env = actor, actor.env()
        policy = actor.policy
        policy.eval()  # it is tried on zeros, which no table is to number
        self._collector = Waiting(
            self._env,
            policy,
            frames_per_batch=settings.frames_per_batch,
            total_frames=-1,
            auto_register_policy_transforms=False,
            track_traj_ids=False,
        )
        policy.train()
        self._batches = self._endless()
        self._begun = False

    def batches(self, ends: Callable[[], bool]) -> Iterator[Collected]:
        """Yield batches; there is nothing to wait for."""
        return self._batches

    def _endless(self) -> Iterator[Collected]:
        if not self._begun:
            raise RuntimeError("restart(seed) must come before the first batch")
        for batch in self._collector:
            yield Collected(0, batch)

    def push(self, frames: int) -> None:
        """The policy acts on the very network that has the new weights."""

    def restart(self, seed: int) -> None:
        self._env.set_seed(seed)
        self._collector.reset()
        self._begun = True

    def state_dict(self) -> dict[str, Any]:
        return {"0": self._actor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "0" in state:
            self._actor.load_state_dict(state["0"])

    def close(self) -> None:
        self._collector.shutdown()
