"""Settings of the process that make small networks fast on a CPU, and the versions in it."""

import ctypes
import platform
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import version

import torch

from modules.spec import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
LARGE = 2**30  # bytes
SAME = ("torch", "torchrl", "tensordict", "numpy", "gymnasium")  # on all machines of a run
THREADS = torch.get_num_threads()  # PyTorch's default, before the first of several jobs changes it


def tune(threads: int) -> None:
    """Set PyTorch's CPU threads (0: leave its default) and let the allocator keep freed memory.

    glibc returns every freed block above 128 KiB to the system, so each update would fetch its activations
    again, page by page: more than half of the time of a pixel update.
    """
    torch.set_num_threads(threads or THREADS)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # absent from musl
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, LARGE)


def versions() -> dict[str, str]:
    """Of what machines send each other pickles of, and what results depend on; builds for CPU and GPU are alike."""
    return {"Python": platform.python_version(), **{name: version(name).partition("+")[0] for name in SAME}}


def refuse_other_versions(learners: Mapping[str, str]) -> None:
    """Raise `UsageError` if what is installed here differs from what is on the learner's machine."""
    here = versions()
    if others := [name for name in learners if here.get(name) != learners[name]]:
        words = ", ".join(f"{name} {here.get(name)} instead of {learners[name]}" for name in others)
        raise UsageError(
            f"collector=ray: the machine {socket.gethostname()} has {words}; install the same on all of them"
        )
