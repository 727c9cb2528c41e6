"""What collectors of several workers have in common: how weights go to them, and what comes back."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from torch import Tensor

from modules.collect.base import Actor, Collected, Collection, CollectorSpec
from modules.collect.weights import as_vector, floats_of
from modules.collect.worker import Filled, Newest
from modules.replay.cut_rows import CutRows
from modules.spec import Positive, RunConfig, spec

AHEAD = 2  # batches that a worker may be ahead of the learner: one is filled while the other waits to be learned from
PULSE_S = 1  # between looks at whether workers live and the run goes on
SILENCE_S = 60  # after which a wait for a batch is worth a word

log = logging.getLogger("recall")


@spec
class DividedSpec(CollectorSpec):
    """Several workers, each with `num_envs` environments and a policy of its own, on CPUs.

    Attributes:
        push_every: env frames, of all workers together, between two pushes of the newest weights.
        rows: who cuts rows and gives them their first priority: the learner, from whole batches, or each actor, by the
            values that it had while acting. Then the learner has less to do, and what it is sent is smaller.
    """

    push_every: Positive
    rows: Literal["learner", "actor"]

    @property
    def actors_cut(self) -> bool:
        return self.rows == "actor"

    @property
    def pushes_per_frame(self) -> float:
        return 1 / max(self.push_every, self.frames_per_batch)

    @property
    def workers(self) -> int:
        """How many there are."""
        raise NotImplementedError

    @property
    def total_envs(self) -> int:
        return self.workers * self.num_envs

    def needs(self, run: RunConfig) -> Iterator[str]:
        """Each worker has one network and one set of environments of its own, and is behind the newest weights."""
        if run.network.torso.writes == "row":
            yield "network/torso=table needs collector=sync: each process would number the observations its own way"
        if run.intrinsic.rewards and not run.intrinsic.divides:
            yield (
                f"{type(run.intrinsic).__name__} does not say what several processes must share of it (divides, see "
                "modules/intrinsic/base.py): use collector=sync with more num_envs"
            )
        if run.replay.on_policy:
            yield (
                "several processes act with weights that are behind the newest, and this replay is for what the newest "
                "did: use collector=sync with more num_envs"
            )


def unpacked(rows: bytes | None) -> CutRows | None:
    """Rows that an actor has cut; None where it cuts none."""
    return None if rows is None else CutRows.unpack(rows)


class DividedCollection(Collection):
    """Endless batches from workers, each at a place of its own; `actor` stands here for the one at place 0."""

    def __init__(self, settings: DividedSpec, actor: Actor) -> None:
        self._settings, self._actor = settings, actor
        self._kept: list[Mapping[str, Any] | None] = [None] * settings.workers
        self._merged = [0] * settings.workers  # reports of each since the restart
        self._newest: list[Newest] = []  # what each is to act with
        self._heard = [time.monotonic()] * settings.workers  # when something came of each
        self._epoch = self._version = 0  # restarts and pushes so far
        self._frames = self._pushed_at = 0

    def batches(self, ends: Callable[[], bool]) -> Iterator[Collected]:
        """Yield batches in the order in which workers are done; `ends` is asked every `PULSE_S`.

        Raises:
            WorkerFailed: names the worker that was lost, or what went wrong in it.
        """
        while (batch := self._next(ends)) is not None:
            yield batch

    def push(self, frames: int) -> None:
        """Make the network's weights those of the orders to come, if `push_every` frames went by."""
        self._frames = frames
        if frames - self._pushed_at >= self._settings.push_every:
            self._publish()

    def restart(self, seed: int) -> None:
        self._epoch += 1
        self._merged = [0] * self._settings.workers
        self._publish()

    def state_dict(self) -> dict[str, Any]:
        return {str(place): kept for place, kept in enumerate(self._kept) if kept is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._kept = [state.get(str(place)) for place in range(self._settings.workers)]
        if self._kept[0] is not None:
            self._actor.load_state_dict(self._kept[0])

    def _publish(self) -> None:
        """Put the newest weights and statistics where the orders to come refer to."""
        block = self._put(as_vector(floats_of(*self._actor.networks)))
        self._version += 1
        self._pushed_at = self._frames
        moments = {name: part.state_dict() for name, part in self._actor.moments.items()}
        self._newest = [Newest(block, self._version, self._frames, moments, merged) for merged in self._merged]

    def _hear(self, place: int, filled: Filled) -> None:
        """Merge what a worker reports of a batch, and note what it keeps."""
        for name, part in self._actor.reports.items():
            part.merge(filled.report[name])
        self._merged[place] += 1
        self._kept[place] = filled.kept
        if place == 0:
            self._actor.load_state_dict(filled.kept)

    def _mind_silence(self, places: Iterable[int]) -> None:
        """Say which of the workers that are waited for have not been heard of for long."""
        now = time.monotonic()
        for place in places:
            if now - self._heard[place] > SILENCE_S:
                log.warning("%s: no batch for %d s%s", self._name(place), SILENCE_S, self._lacks())
                self._heard[place] = now

    def _lacks(self) -> str:
        """What a silent worker may lack, in words that end the sentence."""
        return ""

    def _name(self, place: int) -> str:
        """Name the worker for the log."""
        raise NotImplementedError

    def _put(self, weights: Tensor) -> int:
        """Make the weights, in one vector, readable for all workers; return the number of their block."""
        raise NotImplementedError

    def _next(self, ends: Callable[[], bool]) -> Collected | None:
        """Wait for the next batch; None if asked to end."""
        raise NotImplementedError
