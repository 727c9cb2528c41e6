"""What a worker says that cannot act: its machine has other versions, or its environment ends the process."""

import pickle
import sys

import numpy as np
import pytest

from modules.collect.ray_worker import RayWorker
from modules.errors import Exited, told
from modules.process import versions
from modules.spec import UsageError


def test_a_worker_of_a_cluster_with_other_versions_says_so():
    """Before it unpickles anything that they wrote."""
    worker = RayWorker(pickle.dumps(({**versions(), "torch": "0.4.1"}, b"no pickle")), 0, 0)
    with pytest.raises(UsageError, match=r"^collector=ray: the machine \S+ has torch \S+ instead of 0\.4\.1; "):
        worker.work(b"", np.zeros(0))


def leave(place: int) -> None:
    sys.exit(f"worker {place} has no licence")


def test_an_environment_that_ends_the_process_is_an_error_and_no_lost_worker():
    """Ray takes a `SystemExit` for the end of an actor that was asked for, and tells the learner nothing else."""
    worker = RayWorker(pickle.dumps((versions(), pickle.dumps((leave, None, [])))), 3, 0)
    with pytest.raises(Exited) as caught:
        worker.work(b"", np.zeros(0))
    assert told(pickle.loads(pickle.dumps(caught.value))) == "sys.exit('worker 3 has no licence') was called"
