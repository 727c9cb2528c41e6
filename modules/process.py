"""Settings of the process that make small networks fast on a CPU."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
LARGE = 2**30  # bytes
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
