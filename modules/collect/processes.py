"""Shared memory, and processes that end with this one."""

import shutil
import signal
from collections.abc import Iterable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing import get_context

from modules.collect.worker import Assignment, work
from modules.spec import UsageError

SHARED_MEMORY = Path("/dev/shm")
MIB = 2**20


def allocate_shared(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Make a tensor in shared memory; nothing of it is taken before something is written there."""
    elements = torch.Size(shape).numel()
    storage = torch.UntypedStorage._new_shared(elements * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)  # pyright: ignore[reportCallIssue, reportArgumentType]


def refuse_small_shared_memory(needed: int) -> None:
    """Raise `UsageError` if `needed` bytes do not fit: written beyond it, they kill the process that writes."""
    if SHARED_MEMORY.is_dir() and needed > (free := shutil.disk_usage(SHARED_MEMORY).free):
        raise UsageError(
            f"collector=multi_async: batches and weights take {needed / MIB:.0f} MiB of shared memory, but "
            f"{SHARED_MEMORY} has {free / MIB:.0f} MiB left; lower collector.processes, num_envs or steps, or give it "
            "more (docker run --shm-size)"
        )


def start(tasks: Iterable[Assignment]) -> tuple[list[BaseProcess], list[Connection]]:
    """Start a worker for each task, with SIGINT and SIGTERM blocked, which it inherits; return the pipes to them."""
    context: Any = get_context("spawn")  # a fork of a process with threads can hang
    processes, pipes = [], []
    resource_tracker.ensure_running()  # which would unblock the signals
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        for task in tasks:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(task, theirs), name=f"worker {task.number}", daemon=True)
            process.start()
            theirs.close()  # so that its death is the end of the pipe
            processes.append(process)
            pipes.append(ours)
    except BaseException:
        kill(processes)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return processes, pipes


def kill(processes: Iterable[BaseProcess]) -> None:
    """Leave none of them behind."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
