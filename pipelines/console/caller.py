"""What every function of `pipelines.api` owes to its caller."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modules import seeding
from modules.files import describe_error
from modules.spec import UsageError


@contextmanager
def refusing_os_errors() -> Iterator[None]:
    """Make a `UsageError` of what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise UsageError(describe_error(error)) from error


@contextmanager
def fork_rngs() -> Iterator[None]:
    """Leave the global random generators and PyTorch's number of threads to the caller as they were."""
    threads = torch.get_num_threads()
    with seeding.fork_rngs():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
