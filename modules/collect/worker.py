"""The worker's side of collection in several processes: messages, shared memory, and the process itself."""

import contextlib
import copy
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules.collect.base import Actor, CollectorSpec, Cutter
from modules.collect.sync import SyncCollection
from modules.collect.weights import floats_of, load
from modules.errors import told
from modules.process import tune
from modules.replay.cut_rows import CutRows
from modules.seeding import seed_everything, seed_for

ALIGN = 64  # bytes; every entry starts at a multiple


@dataclass(frozen=True)
class Newest:
    """What a worker is to act with: the weights in block `block`, which are those of frame `frames`.

    `version` counts what was ever put into the blocks. `moments` are the states of the running statistics, into which
    the first `merged` reports of this worker since the restart went.
    """

    block: int
    version: int
    frames: int
    moments: Mapping[str, Any]
    merged: int


@dataclass(frozen=True)
class Restart:
    """To a worker: abandon the running episodes and draw everything from `seed` on.

    `kept` is the state that its actor continues from; None starts afresh.
    """

    seed: int
    kept: Mapping[str, Any] | None
    newest: Newest


@dataclass(frozen=True)
class Fill:
    """To a worker: fill slot `slot`; `epoch` counts the restarts."""

    epoch: int
    slot: int
    newest: Newest


@dataclass(frozen=True)
class Close:
    """To a worker: close the environments and end."""


@dataclass(frozen=True)
class Filled:
    """From a worker: that slot is full; with what its actor keeps now, and what it tells of that batch.

    `rows` are those that the batch completed, packed, if the actor cuts them.
    """

    epoch: int
    slot: int
    kept: Mapping[str, Any]
    report: Mapping[str, Any]
    rows: bytes | None


@dataclass(frozen=True)
class Failed:
    """From a worker, its last words: the error in one line, and its traceback."""

    error: str
    traceback: str


@dataclass(frozen=True)
class SlotEntry:
    """Where one entry of a batch lies in a slot: `offset` in bytes, `shape` [N, T, …]."""

    key: str | tuple[str, ...]
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """Where the next entry, or the next slot, may start."""
        return self.offset + -(-self.size // ALIGN) * ALIGN

    @property
    def size(self) -> int:
        """Size in bytes."""
        return prod(self.shape) * self.dtype.itemsize


def entries_of(template: TensorDictBase, settings: CollectorSpec) -> tuple[SlotEntry, ...]:
    """Lay out batches [N, T] of steps like `template`, which is one step [M] of any number of environments."""
    found: list[SlotEntry] = []
    for key, value in template.items(include_nested=True, leaves_only=True):
        shape = (settings.num_envs, settings.steps, *value.shape[1:])
        found.append(SlotEntry(key, value.dtype, shape, found[-1].end if found else 0))
    return tuple(found)


def batch_in(slot: Tensor, entries: tuple[SlotEntry, ...]) -> TensorDict:
    """View the bytes of a slot as a batch [N, T]."""
    views = {e.key: slot[e.offset : e.offset + e.size].view(e.dtype).view(e.shape) for e in entries}
    return TensorDict(views, batch_size=entries[0].shape[:2])


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a worker is started with; `make` makes what acts, given the worker's `number`.

    `slots`, [slots, bytes] with a layout of `entries`, and `weights`, [blocks, parameters], are shared: this worker
    writes the former and the main process the latter.
    """

    number: int
    make: Callable[[int], Actor]
    settings: CollectorSpec
    entries: tuple[SlotEntry, ...]
    slots: Tensor
    weights: Tensor


def work(task: Assignment, pipe: Connection) -> None:
    """Be a worker: fill slots until told to end, or until the main process is gone."""
    ignore_signals()
    threading.Thread(target=end_with_parent, daemon=True).start()
    tune(threads=1)
    try:
        with contextlib.suppress(EOFError, BrokenPipeError):  # the main process is gone
            serve(task, pipe)
        os._exit(0)  # at once: PyTorch takes a second to tidy up
    except BaseException as error:
        with contextlib.suppress(OSError):
            send(pipe, Failed(told(error), traceback.format_exc()))
        os._exit(1)  # at once: nothing of what went wrong is asked to tidy up


def ignore_signals() -> None:
    """Leave SIGINT and SIGTERM, which a terminal or a scheduler sends to all, to the main process.

    It had blocked them, so that none could come before this. A handler, unlike `SIG_IGN`, is not inherited by what an
    environment may start.
    """
    ours = (signal.SIGINT, signal.SIGTERM)
    for signum in ours:
        signal.signal(signum, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)


def end_with_parent() -> None:
    """End this process when its parent is gone, however it went and whatever happens here."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def serve(task: Assignment, pipe: Connection) -> None:
    """Make what acts, then do what the messages say."""
    collection = ActorInWorker(task.make(task.number), task.settings, task.number)
    slots = [batch_in(slot, task.entries) for slot in task.slots]
    keys = [entry.key for entry in task.entries]
    for message in messages(pipe):
        if done := collection.carry_out(message, task.weights):
            batch, filled = done
            slots[filled.slot].update_(batch.select(*keys))
            send(pipe, filled)
    collection.close()


class ActorInWorker(SyncCollection):
    """An actor far from the learner: goes on with weights and statistics that come from there, and reports to it."""

    def __init__(self, actor: Actor, settings: CollectorSpec, number: int) -> None:
        super().__init__(settings, actor)
        self.actor, self._number = actor, number
        self._weights = floats_of(*actor.networks)
        self._anew = copy.deepcopy(actor.state_dict())
        self._reports: deque[tuple[int, Mapping[str, Any]]] = deque()  # that the statistics may not have heard of
        self._reported = 0  # since the restart
        self._version = -1
        self._cutter: Cutter | None = None
        for moments in actor.moments.values():
            moments.tell()

    def carry_out(self, order: Restart | Fill, weights: Tensor) -> tuple[TensorDictBase, Filled] | None:
        """Restart, or collect the batch that is asked for and return it with what there is to tell of it.

        `weights`, [blocks, parameters], are those that orders refer to.
        """
        if isinstance(order, Restart):
            self.forget()
        self.renew(order.newest, weights)
        if isinstance(order, Restart):
            self.start(order)
            return None
        batch, rows = self.collect()
        return batch, Filled(order.epoch, order.slot, self.actor.state_dict(), self.report(), rows)

    def forget(self) -> None:
        """Abandon what was not reported yet, and the reports that nobody has heard or will hear of."""
        for part in self.actor.reports.values():
            part.take()
        self._reports.clear()
        self._reported = 0

    def start(self, message: Restart) -> None:
        """Abandon the running episodes and begin new ones, with the weights that came with the order."""
        self.actor.load_state_dict(copy.deepcopy(self._anew) if message.kept is None else message.kept)
        seed_everything(seed_for(message.seed, "worker", self._number))
        self.restart(seed_for(message.seed, "worker environments", self._number))
        self._cutter = None if self.actor.cutter is None else self.actor.cutter()

    def renew(self, newest: Newest, weights: Tensor) -> None:
        """Take over weights and statistics, if they are new; the latter with what was reported since."""
        if newest.version == self._version:
            return
        self._version = newest.version
        load(weights[newest.block], self._weights)
        self.actor.anneal(newest.frames)
        while self._reports and self._reports[0][0] < newest.merged:
            self._reports.popleft()
        for name, moments in self.actor.moments.items():
            moments.load_state_dict(newest.moments[name])
            for _, report in self._reports:
                moments.merge(report[f"moments/{name}"])

    def collect(self) -> tuple[TensorDictBase, bytes | None]:
        """Return a batch, and the rows that it completes, packed, if this actor cuts them."""
        batch = next(self._batches).batch
        return batch, None if self._cutter is None else CutRows(self._cutter.push(batch)).pack()

    def report(self) -> dict[str, Any]:
        """What there is to tell since the last report."""
        found = {name: part.take() for name, part in self.actor.reports.items()}
        if self.actor.moments:
            self._reports.append((self._reported, found))
        self._reported += 1
        return found


def messages(pipe: Connection) -> Iterator[Restart | Fill]:
    """Yield what is sent, until `Close`; a restart overtakes what waits."""
    waiting: deque[Restart | Fill] = deque()
    while True:
        while not waiting or pipe.poll():
            message = receive(pipe)
            if isinstance(message, Close):
                return
            if isinstance(message, Restart):
                waiting.clear()
            waiting.append(message)
        yield waiting.popleft()


def send(pipe: Connection, message: object) -> None:
    """Send a message by value; PyTorch would have `pipe.send` put each tensor into shared memory of its own."""
    pipe.send_bytes(pickle.dumps(message))


def receive(pipe: Connection) -> Any:
    """Receive what `send` sent."""
    return pickle.loads(pipe.recv_bytes())
