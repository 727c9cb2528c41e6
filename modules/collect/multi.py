"""Collection by several processes of one machine, which fill batches while the main process learns."""

import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import util
from multiprocessing.connection import wait

import torch
from tensordict import TensorDictBase
from torch import Tensor

from modules.collect.base import Actor, Collected, CollectorContext, WorkerFailed
from modules.collect.divided import AHEAD, PULSE_S, DividedCollection, DividedSpec, unpacked
from modules.collect.processes import allocate_shared, kill, refuse_small_shared_memory, start
from modules.collect.weights import floats_of
from modules.collect.worker import (
    Assignment,
    Close,
    Failed,
    Fill,
    Filled,
    Restart,
    batch_in,
    entries_of,
    receive,
    send,
)
from modules.spec import Positive, spec

PATIENCE_S = 5  # that workers get for closing their environments


@spec
class MultiAsyncSpec(DividedSpec):
    """Several worker processes, each with `num_envs` environments and its own copy of the policy, on the CPU.

    Attributes:
        processes: workers, P; the environments are P·N in all.
    """

    processes: Positive

    @property
    def workers(self) -> int:
        return self.processes

    def build(self, context: CollectorContext) -> "MultiCollection":
        return MultiCollection(self, context.make, context.actor, context.template())


class MultiCollection(DividedCollection):
    """Endless batches from worker processes; stream w is worker w.

    A worker acts on orders only: each names the slot of shared memory to fill and the weights to act with, and `AHEAD`
    of them wait at most. So the learner is never outrun, weights never change within a batch, and with one process
    everything is reproducible bit for bit. With more it is not: which worker is first is up to the machine.

    It is our own because TorchRL 0.14's `MultiAsyncCollector` cannot be made exact. Its workers throw a finished
    batch away when a message (seed, reset) arrives meanwhile, and when the queue, which holds one batch, was full for
    a second: a gap in the middle of episodes that nobody is told of. Batches do not say which worker they are from,
    `reset` lets older ones through, weights are overwritten in the memory that workers are acting on, and a dead
    worker is named without its error. One pipe per worker replaces the one queue, because a process that is
    killed while it holds a queue's lock leaves it locked.
    """

    def __init__(
        self, settings: MultiAsyncSpec, make: Callable[[int], Actor], actor: Actor, template: TensorDictBase
    ) -> None:
        super().__init__(settings, actor)
        p = settings.processes
        self.exact = p == 1 and not settings.actors_cut  # rows of running episodes are out of a save's reach
        entries = entries_of(template, settings)
        size = sum(value.numel() for value in floats_of(*actor.networks))
        needed = p * AHEAD * entries[-1].end + (p * AHEAD + 1) * size * 4
        refuse_small_shared_memory(needed)
        slots = allocate_shared((p, AHEAD, entries[-1].end), torch.uint8)
        self._weights = allocate_shared((p * AHEAD + 1, size), torch.float32)  # a block more than orders can refer to
        self._slots = [[batch_in(slot, entries) for slot in mine] for mine in slots]
        tasks = [
            Assignment(number=w, make=make, settings=settings, entries=entries, slots=slots[w], weights=self._weights)
            for w in range(p)
        ]
        self._processes, self._pipes = start(tasks)
        self._kill = util.Finalize(self, kill, [self._processes], exitpriority=1)  # however this process ends
        self._orders: list[deque[Fill]] = [deque() for _ in range(p)]  # not yet carried out
        self._arrived: deque[tuple[int, Filled]] = deque()

    def restart(self, seed: int) -> None:
        """Let all workers abandon their episodes and draw everything again, with the network's weights as they are."""
        self._arrived.clear()
        for orders in self._orders:
            orders.clear()  # what they still fill carries an older epoch
        super().restart(seed)
        for w in range(self._settings.workers):
            self._send(w, Restart(seed, self._kept[w], self._newest[w]))

    def close(self) -> None:
        """End the workers; those that do not close their environments in time are killed."""
        for w in range(self._settings.workers):
            self._send(w, Close())
        end = time.monotonic() + PATIENCE_S
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()))
        self._kill()
        for pipe in self._pipes:
            pipe.close()

    def _put(self, weights: Tensor) -> int:
        """Copy them to a block that no order refers to; a worker that lags behind a restart may read garbage.

        What it does with it is thrown away, and as the version is new it loads what it needs then.
        """
        used = {order.newest.block for orders in self._orders for order in orders}
        block = next(b for b in range(len(self._weights)) if b not in used)
        self._weights[block] = weights
        return block

    def _next(self, ends: Callable[[], bool]) -> Collected | None:
        if not self._epoch:
            raise RuntimeError("restart(seed) must come before the first batch")
        for w, orders in enumerate(self._orders):
            for slot in sorted({*range(AHEAD)} - {order.slot for order in orders}):
                orders.append(Fill(self._epoch, slot, self._newest[w]))
                self._send(w, orders[-1])
                self._heard[w] = time.monotonic()  # one that hangs soon gets no more orders
        self._listen(0)  # a worker's death must not wait until the others have nothing to give
        while not self._arrived:
            if ends():
                return None
            self._listen(PULSE_S)
        w, filled = self._arrived.popleft()
        self._orders[w].popleft()
        self._hear(w, filled)
        return Collected(w, self._slots[w][filled.slot].clone(), unpacked(filled.rows))

    def _listen(self, timeout: float) -> None:
        """Take in what the workers say within `timeout` seconds, and whether they live.

        A pipe does not always end with its worker: what an environment has started may hold it open.
        """
        dead = [w for w, process in enumerate(self._processes) if process.exitcode is not None]
        ready = wait(self._pipes, timeout)
        for w, pipe in enumerate(self._pipes):
            while pipe in ready and pipe.poll():
                self._take(w)
        if dead:
            raise self._death(dead[0])
        delivered = {w for w, _ in self._arrived}  # that the learner is busy is not their fault
        self._mind_silence(w for w in range(self._settings.workers) if w not in delivered)

    def _take(self, w: int) -> None:
        try:
            message: Filled | Failed = receive(self._pipes[w])
        except (EOFError, OSError) as error:
            raise self._death(w) from error
        if isinstance(message, Failed):
            failed = WorkerFailed(f"{self._name(w)}: {message.error}")
            failed.add_note(f"In the worker:\n{message.traceback}")
            raise failed
        self._heard[w] = time.monotonic()
        if message.epoch == self._epoch:
            self._arrived.append((w, message))

    def _death(self, w: int) -> WorkerFailed:
        """Say how a worker ended that left no word."""
        self._processes[w].join(PATIENCE_S)
        code = self._processes[w].exitcode
        if code is None:
            return WorkerFailed(f"{self._name(w)} closed its connection, but still runs")
        if code < 0:
            memory = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
            return WorkerFailed(f"{self._name(w)} was killed by {signal.Signals(-code).name}{memory}")
        return WorkerFailed(f"{self._name(w)} ended with exit code {code}")

    def _name(self, place: int) -> str:
        return f"worker {place} of {self._settings.workers} (process {self._processes[place].pid})"

    def _send(self, w: int, message: Restart | Fill | Close) -> None:
        with suppress(OSError):  # it is dead: the next batch that is asked for will tell
            send(self._pipes[w], message)
