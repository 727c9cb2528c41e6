"""Machines of a cluster must have the same versions."""

import pickle

import numpy as np
import pytest

from modules.collect.ray_worker import RayWorker
from modules.process import versions
from modules.spec import UsageError


def test_a_worker_of_a_cluster_with_other_versions_says_so():
    """Before it unpickles anything that they wrote."""
    worker = RayWorker(pickle.dumps(({**versions(), "torch": "0.4.1"}, b"no pickle")), 0, 0)
    with pytest.raises(UsageError, match=r"^collector=ray: the machine \S+ has torch \S+ instead of 0\.4\.1; "):
        worker.work(b"", np.zeros(0))
