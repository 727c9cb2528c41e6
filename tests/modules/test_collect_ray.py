"""Collection on a Ray cluster: workers that are lost, and what comes of their streams."""

import importlib.util
import logging
import time
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from modules import keys
from modules.collect import RaySpec, WorkerFailed, cluster
from modules.collect.cluster import RayCollection, Worker
from modules.collect.divided import SILENCE_S
from modules.collect.ray_session import connect
from tests.modules.test_collect_multi import SETTINGS, make

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray"),
]


def collect(most_losses: int) -> RayCollection:
    settings = RaySpec(num_workers=2, address="local", cpus_per_worker=0.5, most_losses=most_losses, **SETTINGS)
    connect("local", cpus=1)
    actor = make("", 0)
    template = actor.env().fake_tensordict()
    fields = list(template.keys(include_nested=True, leaves_only=True))
    collection = RayCollection(settings, partial(make, ""), actor, fields)
    collection.restart(3)
    return collection


def lose(collection: RayCollection, place: int) -> None:
    import ray

    ray.kill(collection._workers[place].handle)


def test_a_lost_worker_is_replaced_by_a_stream_of_its_own_and_the_others_go_on(caplog):
    """Observations tell the worker, a number that its seed draws, and the steps since then: no stream has a gap."""
    collection, ages, marks, lost = collect(most_losses=1), {}, {}, False
    with caplog.at_level(logging.WARNING):
        for stream, batch, _ in collection:
            seen = batch[keys.OBSERVATION][0]
            age = ages.setdefault(stream, 1)
            assert set(seen[:, 0].tolist()) == {min(stream, 1)}  # stream 2 took the place of 1
            assert marks.setdefault(stream, seen[0, 1].item()) == seen[0, 1].item()
            assert seen[0, 2] in (age, age + 1)  # an episode's end has an observation more
            ages[stream] = int(seen[-1, 2]) + 1
            if not lost and set(ages) == {0, 1}:
                lose(collection, 1)
                lost = True
            if 2 in ages:
                break
        assert len(set(marks.values())) == 3
        assert [record.message.count("was lost") for record in caplog.records] == [1]
        lose(collection, 0)
        with pytest.raises(WorkerFailed, match=r"worker 0 of 2 \(stream 0\) was lost, as were 1 before it"):
            for _ in collection:
                pass
    collection.close()


def test_a_worker_that_finds_no_room_is_named_while_another_delivers(monkeypatch, caplog):
    import ray

    delivers, waits = (Worker(place, place, None, deque([f"order {place}"])) for place in (0, 1))
    collection: Any = RayCollection.__new__(RayCollection)
    collection._heard = [time.monotonic() - 600] * 2
    collection._workers, collection._settings = [delivers, waits], SimpleNamespace(workers=2)
    collection._ray_settings = SimpleNamespace(cpus_per_worker=1)
    monkeypatch.setattr(cluster, "free_cpus", lambda: 0.0)
    monkeypatch.setattr(ray, "wait", lambda orders, **_: (orders[:1], orders[1:]))
    for _ in range(3):
        assert collection._first_done() is delivers
    assert [record.getMessage() for record in caplog.records if "no batch for" in record.getMessage()] == [
        f"worker 1 of 2 (stream 1): no batch for {SILENCE_S} s; it needs 1 CPUs, and 0 of the cluster are free"
    ]
