"""What a lost machine costs a run, told with workers that are none."""

from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from modules.collect import WorkerFailed, cluster
from modules.collect.cluster import RayCollection, Worker

LOST = RuntimeError("the connection ended")


@dataclass
class Newest:
    merged: int = 3


@pytest.fixture
def collection(monkeypatch):
    """Two workers that have delivered, in a cluster of the machines a and b."""
    found: Any = RayCollection.__new__(RayCollection)
    found._settings, found._ray_settings = SimpleNamespace(workers=2), SimpleNamespace(most_losses=2)
    found._losses, found._streams, found._merged, found._newest = 0, 2, [3, 3], [Newest(), Newest()]
    found._workers = [Worker(place, place, None, deque(), delivered=True) for place in (0, 1)]

    def hire(place: int) -> Worker:
        found._streams += 1
        return Worker(place, found._streams - 1, None, deque())

    monkeypatch.setattr(found, "_hire", hire)
    there(monkeypatch, "a", "b")
    return found


def there(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(cluster, "machines", lambda: frozenset(names))


def lose_all(collection) -> None:
    for worker in tuple(collection._workers):
        collection._replace(worker, LOST)


def test_a_lost_machine_counts_once_for_each_of_its_workers(collection, monkeypatch):
    lose_all(collection)  # it is gone, which nobody knows yet, so their successors are sent there too
    assert collection._losses == 2
    there(monkeypatch, "a")
    lose_all(collection)
    assert collection._losses == 2
    assert [worker.stream for worker in collection._workers] == [4, 5]
    collection._workers[0].delivered = True
    with pytest.raises(WorkerFailed, match=r"worker 0 of 2 \(stream 4\) was lost, as were 2 before it"):
        collection._replace(collection._workers[0], LOST)


def test_successors_that_die_while_all_machines_are_there_count(collection):
    lose_all(collection)
    with pytest.raises(WorkerFailed, match="was lost, as were 2 before it"):
        collection._replace(collection._workers[1], LOST)
