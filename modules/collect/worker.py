"""The worker's side of collection in several processes: messages, shared memory, and the process itself."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules.collect.base import Actor, CollectorSpec
from modules.collect.sync import SyncCollection
from modules.collect.weights import floats_of
from modules.process import tune
from modules.seeding import seed_everything, seed_for

ALIGN = 64  # bytes; every entry starts at a multiple


@dataclass(frozen=True)
class Restart:
    """To a worker: abandon the running episodes and draw everything from `seed` on."""

    seed: int


@dataclass(frozen=True)
class Fill:
    """To a worker: act with the weights in block `block`, those of frame `frames`, and fill slot `slot`.

    `epoch` counts the restarts, `version` what was ever put into the blocks.
    """

    epoch: int
    slot: int
    block: int
    version: int
    frames: int


@dataclass(frozen=True)
class Close:
    """To a worker: close the environments and end."""


@dataclass(frozen=True)
class Filled:
    """From a worker: that slot is full."""

    epoch: int
    slot: int


@dataclass(frozen=True)
class Failed:
    """From a worker, its last words: the error in one line, and its traceback."""

    error: str
    traceback: str


@dataclass(frozen=True)
class Entry:
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


def entries_of(template: TensorDictBase, settings: CollectorSpec) -> tuple[Entry, ...]:
    """Lay out batches [N, T] of steps like `template`, which is one step [M] of any number of environments."""
    found: list[Entry] = []
    for key, value in template.items(include_nested=True, leaves_only=True):
        shape = (settings.num_envs, settings.steps, *value.shape[1:])
        found.append(Entry(key, value.dtype, shape, found[-1].end if found else 0))
    return tuple(found)


def batch_in(slot: Tensor, entries: tuple[Entry, ...]) -> TensorDict:
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
    entries: tuple[Entry, ...]
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
        text = str(error) or "no further words"
        with contextlib.suppress(OSError):
            pipe.send(Failed(f"{type(error).__name__}: {text}", traceback.format_exc()))
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
    actor = task.make(task.number)
    collection = SyncCollection(task.settings, actor.env, actor.policy)
    batches = iter(collection)
    slots = [batch_in(slot, task.entries) for slot in task.slots]
    keys = [entry.key for entry in task.entries]
    weights, version = floats_of(actor.network), -1
    for message in messages(pipe):
        if isinstance(message, Restart):
            seed_everything(seed_for(message.seed, "worker", task.number))
            collection.restart(seed_for(message.seed, "worker environments", task.number))
            continue
        if message.version != version:
            version = message.version
            load(task.weights[message.block], weights)
            actor.anneal(message.frames)
        _, batch = next(batches)
        slots[message.slot].update_(batch.select(*keys))
        pipe.send(Filled(message.epoch, message.slot))
    collection.close()


def messages(pipe: Connection) -> Iterator[Restart | Fill]:
    """Yield what is sent, until `Close`; a restart overtakes what waits."""
    waiting: deque[Restart | Fill] = deque()
    while True:
        while not waiting or pipe.poll():
            message = pipe.recv()
            if isinstance(message, Close):
                return
            if isinstance(message, Restart):
                waiting.clear()
            waiting.append(message)
        yield waiting.popleft()


def load(block: Tensor, weights: list[Tensor]) -> None:
    """Copy a block of weights into those of a network."""
    for weight, part in zip(weights, block.split([w.numel() for w in weights]), strict=True):
        weight.copy_(part.view_as(weight))
