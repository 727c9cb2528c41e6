"""For all tests: one thread, so that numbers do not depend on the machine, and the same examples each time."""

import errno
import os
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Start each test from the same global random stream."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_room(monkeypatch):
    """Let no file named like one of `names` get its name: the disk is full when it is complete."""
    replace = os.replace

    def full(*names, number=errno.ENOSPC):
        def refused(source, target, **rest):
            if any(Path(target).match(name) for name in names):
                raise OSError(number, os.strerror(number), str(source), None, str(target))
            replace(source, target, **rest)

        monkeypatch.setattr(os, "replace", refused)

    return full
