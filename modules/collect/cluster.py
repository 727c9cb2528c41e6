"""Collection by workers on the machines of a Ray cluster, or of one that is started here."""

import logging
import pickle
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from textwrap import shorten
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from modules.collect.base import Actor, Collected, CollectorContext, WorkerFailed
from modules.collect.divided import AHEAD, PULSE_S, DividedCollection, DividedSpec, unpacked
from modules.collect.ray_session import connect, dismiss, free_cpus, leave_cluster, machines
from modules.collect.worker import Fill, Filled, Restart
from modules.errors import told
from modules.process import versions
from modules.spec import Count, Positive, PositiveFloat, RunConfig, spec

log = logging.getLogger("recall")

ADDRESS = re.compile(r"auto|local|[\w.-]+:\d+")


@spec
class RaySpec(DividedSpec):
    """Workers as actors of Ray (Moritz et al. 2018), on one machine or on many.

    A worker that dies, or whose machine does, is replaced, while the others go on: its running episodes are lost, its
    bandits go on from its last batch.

    Attributes:
        num_workers: W; the environments are W·N in all.
        address: of the cluster: HOST:PORT, auto for the one that this machine belongs to, or local, which starts one
            that ends with the run.
        cpus_per_worker: that Ray sets aside for a worker.
        most_losses: workers that may be lost in a run before it ends with an error; a lost machine counts once for each
            worker that was there.
    """

    on_cluster = True

    num_workers: Positive
    address: str
    cpus_per_worker: PositiveFloat
    most_losses: Count

    @property
    def workers(self) -> int:
        return self.num_workers

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from super().needs(run)
        if not ADDRESS.fullmatch(self.address):
            yield f"collector.address must be HOST:PORT, auto or local, not {self.address!r}"
        if find_spec("ray") is None:
            yield "collector=ray needs Ray, which is not installed: pip install -c constraints.txt -e '.[ray]'"

    @property
    def envs_here(self) -> int:
        return self.total_envs if self.address == "local" else self.num_envs

    def refuse_unreachable(self) -> None:
        connect(self.address, cpus=self.num_workers * self.cpus_per_worker)

    def build(self, context: CollectorContext) -> "RayCollection":
        self.refuse_unreachable()
        keys = list(context.template().keys(include_nested=True, leaves_only=True))
        return RayCollection(self, context.make, context.actor, keys)


@dataclass
class Worker:
    """A worker as the main process sees it.

    `stream` is unlike that of any other, also of the one whose place it took; `orders` are those not yet carried out.
    `machines` are those that were there when a place in the cluster was looked for, for a successor only.
    """

    place: int
    stream: int
    handle: Any
    orders: deque[Any]
    begun: bool = False  # whether it has been told to restart
    delivered: bool = False
    machines: frozenset[str] = frozenset()


class RayCollection(DividedCollection):
    """Endless batches from workers of a cluster; a worker that takes the place of another is a stream of its own.

    Each worker has two orders waiting, which name the weights to act with. Weights are put into Ray's store once for
    each push, from which every machine fetches them once.
    """

    exact = False

    def __init__(self, settings: RaySpec, make: Callable[[int], Actor], actor: Actor, keys: list[Any]) -> None:
        super().__init__(settings, actor)
        self._ray_settings = settings
        self._task = pickle.dumps((versions(), pickle.dumps((make, settings, keys))))
        self._seed = self._streams = self._losses = 0
        self._weights: Any = None  # where Ray keeps the newest
        self._workers = [self._hire(place) for place in range(settings.workers)]

    def restart(self, seed: int) -> None:
        self._seed = seed
        for worker in self._workers:
            worker.orders.clear()
            worker.begun = False
        super().restart(seed)

    def close(self) -> None:
        """End the workers, and the cluster if it was started here for a run."""
        dismiss([worker.handle for worker in self._workers])
        leave_cluster()

    def _hire(self, place: int) -> Worker:
        """Let Ray find a machine for a worker; nothing is made there before its first order."""
        import ray  # pyright: ignore[reportMissingImports] - an extra

        from modules.collect.ray_worker import RayWorker

        settings = ray.remote(RayWorker).options(num_cpus=self._ray_settings.cpus_per_worker, max_restarts=0)
        stream, self._streams = self._streams, self._streams + 1
        self._heard[place] = time.monotonic()
        return Worker(place, stream, settings.remote(self._task, place, stream), deque())

    def _put(self, weights: Tensor) -> int:
        import ray  # pyright: ignore[reportMissingImports] - an extra

        self._weights = ray.put(weights.numpy())
        return 0

    def _order(self, worker: Worker) -> None:
        newest = self._newest[worker.place]
        restart = [] if worker.begun else [Restart(self._seed, self._kept[worker.place], newest)]
        worker.begun = True
        words = pickle.dumps((*restart, Fill(self._epoch, 0, newest)))
        worker.orders.append(worker.handle.work.remote(words, self._weights))

    def _next(self, ends: Callable[[], bool]) -> Collected | None:
        if not self._epoch:
            raise RuntimeError("restart(seed) must come before the first batch")
        while True:
            for worker in self._workers:
                while len(worker.orders) < AHEAD:
                    self._order(worker)
            if ends():
                return None
            if (worker := self._first_done()) and (collected := self._receive(worker)) is not None:
                return collected

    def _first_done(self) -> Worker | None:
        """Of the workers that are done the one that was heard longest ago, waited for `PULSE_S` seconds at most."""
        import ray  # pyright: ignore[reportMissingImports] - an extra

        first = {worker.orders[0]: worker for worker in self._workers}
        done, others = ray.wait(list(first), num_returns=len(first), timeout=0, fetch_local=False)
        self._mind_silence(first[order].place for order in others)
        if not done:
            done, _ = ray.wait(list(first), num_returns=1, timeout=PULSE_S, fetch_local=False)
        return min((first[order] for order in done), key=lambda worker: self._heard[worker.place], default=None)

    def _receive(self, worker: Worker) -> Collected | None:
        """Take in a batch and what comes with it; None if the worker is lost, which another one replaces then."""
        import ray  # pyright: ignore[reportMissingImports] - an extra
        from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

        try:
            words, arrays = ray.get(worker.orders.popleft())
        except RayTaskError as error:
            failed = WorkerFailed(f"{self._name(worker.place)}: {told(error.cause)}")
            failed.add_note(f"In the worker:\n{error}")
            raise failed from None
        except RayError as error:
            self._replace(worker, error)
            return None
        self._heard[worker.place], worker.delivered = time.monotonic(), True
        filled: Filled = pickle.loads(words)
        if filled.epoch != self._epoch:
            return None
        self._hear(worker.place, filled)
        batch = TensorDict(
            {key: torch.from_numpy(array.copy()) for key, array in arrays.items()},  # theirs are read-only
            batch_size=(self._settings.num_envs, self._settings.steps),
        )
        return Collected(worker.stream, batch, unpacked(filled.rows))

    def _replace(self, worker: Worker, error: Exception) -> None:
        there, name = machines(), self._name(worker.place)
        # Where a machine is lost, Ray notices it after its workers, and has sent their successors there meanwhile.
        went_there = not worker.delivered and not worker.machines <= there
        self._losses += not went_there
        reason = shorten(str(error), 200, placeholder=" …")
        if self._losses > self._ray_settings.most_losses:
            raise WorkerFailed(
                f"{name} was lost, as were {self._losses - 1} before it, and "
                f"collector.most_losses={self._ray_settings.most_losses}: {reason}"
            ) from None
        self._merged[worker.place] = 0
        self._newest[worker.place] = replace(self._newest[worker.place], merged=0)
        new = self._workers[worker.place] = self._hire(worker.place)
        new.machines = there
        log.warning("%s was lost: %s; stream %d takes its place", name, reason, new.stream)

    def _lacks(self) -> str:
        cpus = self._ray_settings.cpus_per_worker
        return f"; it needs {cpus:g} CPUs, and {free_cpus():g} of the cluster are free"

    def _name(self, place: int) -> str:
        return f"worker {place} of {self._settings.workers} (stream {self._workers[place].stream})"
