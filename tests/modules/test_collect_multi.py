"""Collection by several processes: whose batch it is, what it was acted with, and how workers end."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import psutil
import pytest
import torch
from tensordict.nn import TensorDictModule
from torch import nn

from modules import keys
from modules.collect import Actor, MultiAsyncSpec, MultiCollection, WorkerFailed
from modules.collect.divided import AHEAD
from modules.envs.base import EnvContext
from modules.spec import UsageError
from tests.cases import later
from tests.modules.builders import gym_spec

ENVS, STEPS, PUSH_EVERY = 2, 5, 100
SETTINGS = {"num_envs": ENVS, "steps": STEPS, "push_every": PUSH_EVERY, "rows": "learner"}
ID = "tests.modules.test_collect_multi:Told-v0"
SOON_S = 10  # a worker's death is noticed in milliseconds; the machine may be busy


class Told(gymnasium.Env):
    """Observations tell the worker, a number drawn at the first reset after seeding, and all steps since then.

    Episodes have 7 steps, with one more observation each. While the file `fault` exists, steps fail or, if it
    says so, hang.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(10**6)

    def __init__(self, worker: int = 0, fault: str = "") -> None:
        self.worker, self.fault = worker, fault
        self.mark = self.age = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.mark, self.age = int(self.np_random.integers(1_000_000)), 0
        self.age += 1
        return np.array([self.worker, self.mark, self.age]), {}

    def step(self, action):
        if self.fault and Path(self.fault).exists():
            if Path(self.fault).read_text() == "hang":
                time.sleep(10 * SOON_S)
            raise RuntimeError("the motor is on fire")
        self.age += 1
        return np.array([self.worker, self.mark, self.age]), 0.0, False, self.age % 8 == 0, {}


gymnasium.registry.pop("Told-v0", None)
gymnasium.register("Told-v0", Told)


class Telling(nn.Module):
    """Chooses actions that tell the one weight (thousands), the frames of the last `anneal` and a random digit."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.frames = 0

    def anneal(self, frames: int) -> None:
        self.frames = frames

    def forward(self, observation):
        n = observation.shape[0]
        return 1000 * self.weight.long().expand(n) + 10 * (self.frames % 100) + torch.randint(10, (n,))


def make(fault: str, worker: int) -> Actor:
    env, network = partial(gym_spec(ID, worker=worker, fault=fault).build, EnvContext(ENVS)), Telling()
    policy = TensorDictModule(network, [keys.OBSERVATION], [keys.ACTION])
    return Actor(env=env, policy=policy, networks=[network], anneal=network.anneal)


def collect(processes: int, fault: str = "") -> tuple[MultiCollection, Telling]:
    actor, settings = make("", 0), MultiAsyncSpec(processes=processes, **SETTINGS)
    collection = MultiCollection(settings, partial(make, fault), actor, actor.env().fake_tensordict())
    return collection, actor.networks[0]  # type: ignore[return-value]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Return a function from a number of workers to a collection of as many, their network and their fault's file.

    They take seconds to start, so tests share them until one of them dies.
    """
    found: dict[int, tuple[MultiCollection, Telling, Path]] = {}

    def get(processes: int) -> tuple[MultiCollection, Telling, Path]:
        if processes not in found or not all(p.is_alive() for p in found[processes][0]._processes):
            fault = tmp_path_factory.mktemp("faults") / "fault"
            found[processes] = (*collect(processes, str(fault)), fault)
        return found[processes]

    yield get
    for collection, _, _ in found.values():
        collection.close()
        assert not any(p.is_alive() for p in collection._processes)


def after_restart(collection: MultiCollection, seed: int, each: int) -> list[torch.Tensor]:
    """Restart, then collect until every stream has `each` batches; per stream its first ones, one after the other."""
    collection.restart(seed)
    found: list[list] = [[], []]
    for stream, batch, _ in collection:
        assert batch.shape == (ENVS, STEPS)
        found[stream].append(batch)
        if min(map(len, found)) >= each:
            return [torch.cat(batches[:each], 1) for batches in found]
    raise AssertionError


def test_batches_of_a_worker_follow_each_other_without_a_gap_and_are_said_to_be_its(started):
    collection, *_ = started(2)
    for stream, batch in enumerate(after_restart(collection, seed=1, each=4)):
        worker, mark, age = batch[keys.OBSERVATION].unbind(-1)
        assert (worker == stream).all()
        assert (mark == mark[:, :1]).all()
        assert mark[:, 0].unique().numel() == ENVS
        assert age[0].tolist() == [step for step in range(4 * STEPS + 4) if step % 8][: 4 * STEPS]
        assert (batch["next", keys.OBSERVATION][..., 2] == age + 1).all()
        assert (batch["next", keys.TRUNCATED].squeeze(-1) == (age % 8 == 7)).all()


def test_after_a_restart_nothing_older_arrives_and_every_worker_draws_from_its_own_stream(started):
    collection, *_ = started(2)
    first = after_restart(collection, seed=5, each=3)
    collection.restart(6)
    next(iter(collection))  # orders are given out, and some carried out, when the next restart comes
    time.sleep(0.2)
    again = after_restart(collection, seed=5, each=3)
    for one, other in zip(first, again, strict=True):
        assert (one == other).all()
        assert one[keys.ACTION].unique().numel() > 5
    assert not torch.equal(first[0][keys.ACTION], first[1][keys.ACTION])
    marks = torch.cat([batch[keys.OBSERVATION][:, 0, 1] for batch in first])
    assert marks.unique().numel() == 2 * ENVS
    other = after_restart(collection, seed=7, each=1)
    assert not torch.equal(first[0][keys.OBSERVATION][:, 0], other[0][keys.OBSERVATION][:, 0])


def told(found) -> tuple[int, int]:
    """Weight and frames with which all of a batch was acted."""
    _, batch, _ = found
    [weight] = (batch[keys.ACTION] // 1000).unique().tolist()
    [frames] = (batch[keys.ACTION] % 1000 // 10).unique().tolist()
    return weight, frames


def test_weights_reach_a_worker_with_their_frames_every_so_often_and_with_the_orders_that_follow_them(started):
    collection, network, _ = started(1)
    network.weight.fill_(3)
    collection.push(frames=1042)
    collection.restart(1)  # pushes whatever the frames
    batches = iter(collection)
    assert told(next(batches)) == (3, 42)
    assert collection._arrived or collection._pipes[0].poll(SOON_S)  # the second batch was ordered with the first
    [worker] = collection._processes
    os.kill(worker.pid, signal.SIGSTOP)
    network.weight.fill_(4)
    collection.push(frames=1051 + PUSH_EVERY)
    assert told(next(batches)) == (3, 42)  # and the third is ordered
    network.weight.fill_(5)
    collection.push(frames=1060 + 2 * PUSH_EVERY)  # must not touch what was ordered
    os.kill(worker.pid, signal.SIGCONT)
    assert [told(next(batches)) for _ in range(3)] == [(4, 51), (5, 60), (5, 60)]
    network.weight.fill_(6)
    collection.push(frames=1059 + 3 * PUSH_EVERY)  # too early
    assert [told(next(batches)) for _ in range(AHEAD + 1)] == [(5, 60)] * (AHEAD + 1)


def test_with_one_worker_everything_is_reproducible(started):
    collection, network, _ = started(1)
    runs = []
    for _ in range(2):
        network.weight.fill_(0)
        collection.push(0)
        collection.restart(3)
        found = []
        for number, (_, batch, _) in zip(range(1, 13), collection, strict=False):
            found.append(batch)
            network.weight.fill_(number)
            collection.push(frames=number * ENVS * STEPS * 5)
            time.sleep(0.05 * (number == 4))
        runs.append(torch.cat(found, 1))
    assert (runs[0] == runs[1]).all()
    assert (runs[0][keys.ACTION] // 1000).unique().numel() > 4


def test_a_killed_worker_is_named_at_once_and_nobody_is_left(started):
    collection, *_ = started(2)
    collection.restart(0)
    batches = iter(collection)
    next(batches)
    victim, other = collection._processes[1], collection._processes[0]
    os.kill(victim.pid, signal.SIGTERM)  # as a scheduler sends it to all, for the main process to act on
    next(batches)
    assert victim.is_alive()
    os.kill(victim.pid, signal.SIGKILL)
    start = time.monotonic()
    text = rf"worker 1 of 2 \(process {victim.pid}\) was killed by SIGKILL"
    with pytest.raises(WorkerFailed, match=text):
        exhaust(batches)
    assert time.monotonic() - start < SOON_S
    collection.push(PUSH_EVERY)
    collection.restart(1)  # may come before anybody asks for a batch, and must not hide the death
    with pytest.raises(WorkerFailed, match=text):
        next(iter(collection))
    collection.close()
    assert not other.is_alive()


def exhaust(batches) -> None:
    for _ in batches:
        pass


def test_an_error_in_an_environment_is_told_with_the_workers_name_and_traceback(started):
    collection, _, fault = started(1)
    collection.restart(0)
    next(iter(collection))
    fault.touch()
    with pytest.raises(WorkerFailed, match=r"worker 0 of 1 .*: RuntimeError: the motor is on fire") as caught:
        exhaust(iter(collection))
    assert "in step" in caught.value.__notes__[0]


MAIN = """
import sys
import threading
from pathlib import Path
from tests.modules.test_collect_multi import collect
if __name__ == "__main__":
    collection, _ = collect(1, sys.argv[1])
    collection.restart(0)
    next(iter(collection))
    Path(sys.argv[1] + "_").write_text("hang")
    Path(sys.argv[1] + "_").rename(sys.argv[1])
    threading.excepthook = lambda _: None  # Python aborts if a thread writes to stderr while it shuts down
    threading.Thread(target=list, args=(collection,), daemon=True).start()  # orders batches, of which one hangs
    sys.stdout.write(str(collection._processes[0].pid) + "\\n")
    sys.stdout.flush()
    sys.stdin.readline()  # then it forgets to close
"""


@pytest.mark.parametrize("end", ["kill", later("forget")])
def test_workers_end_with_the_main_process_however_that_ends(end, tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    env = os.environ | {"PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""}
    fault = tmp_path / "fault"
    command = [sys.executable, "-W", "ignore", str(tmp_path / "main.py"), str(fault)]
    main = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert main.stdin is not None and main.stdout is not None  # noqa: PT018 - for the type checker
    worker = psutil.Process(int(main.stdout.readline()))
    if end == "kill":
        main.kill()
    else:
        main.stdin.close()
    assert main.wait(SOON_S) == (-signal.SIGKILL if end == "kill" else 0)
    assert not psutil.wait_procs([worker], timeout=SOON_S)[1]


def test_what_does_not_fit_the_shared_memory_is_refused_before_anything_starts(monkeypatch):
    full = SimpleNamespace(free=1000)  # bytes
    monkeypatch.setattr("modules.collect.processes.shutil.disk_usage", lambda _: full)
    monkeypatch.setattr("modules.collect.multi.start", None)
    with pytest.raises(UsageError, match=r"shared memory, but /dev/shm has 0 MiB left; lower collector\.processes"):
        collect(2)


def test_a_wait_for_a_worker_that_hangs_ends_when_it_is_asked_to(started, monkeypatch, caplog):
    monkeypatch.setattr("modules.collect.multi.PULSE_S", 0.05)
    monkeypatch.setattr("modules.collect.divided.SILENCE_S", 0.2)
    collection, *_ = started(2)
    collection.restart(3)
    hung, other = (worker.pid for worker in collection._processes)
    os.kill(hung, signal.SIGSTOP)
    while not caplog.messages:
        next(collection.batches(lambda: True), None)  # from the other, where there is one already
    assert f"worker 0 of 2 (process {hung}): no batch" in caplog.messages[0]
    os.kill(other, signal.SIGSTOP)
    assert len(list(collection.batches(lambda: True))) <= AHEAD  # what had arrived
    for pid in (hung, other):
        os.kill(pid, signal.SIGCONT)
