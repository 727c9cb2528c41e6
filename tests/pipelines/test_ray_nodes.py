"""A run on a cluster of three nodes, all on this machine, whose workers and nodes come and go."""

import contextlib
import importlib.util
import re
import signal

import psutil
import pytest

from modules import checkpoint
from modules.collect.divided import SILENCE_S
from tests.pipelines.launch import launch, run
from tests.pipelines.test_resume import frames

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray"),
]
SILENCE = f"no batch for {SILENCE_S} s; it needs"
SMALL = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "threads=1", "eval_every=0", "log_every=60")
RAY = ("collector=ray", "collector.num_workers=3", "collector.num_envs=2", "collector.steps=10")
ONE = ("collector.cpus_per_worker=1", "collector.most_losses=2")  # worker on each node


@pytest.fixture
def cluster(monkeypatch):
    """Three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [found.add_node(num_cpus=1) for _ in range(2)]
    yield found, nodes
    found.shutdown()


def workers() -> list[psutil.Process]:
    """The processes of our workers; those of the nodes are children of this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "RayWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_run_outlives_workers_and_nodes_and_resumes(cluster, tmp_path):
    nodes, log = cluster[1], tmp_path / "run" / "train.log"
    words = (*SMALL, *RAY, f"collector.address={cluster[0].address}", *ONE, "save_every=200")
    started = launch("pipelines.train", *words, "total_frames=1_000_000", "hydra.run.dir=run", cwd=tmp_path)

    def lost() -> list[str]:
        return re.findall(r"worker (\d) of 3 \(stream (\d+)\) was lost", log.read_text()) if log.exists() else []

    def further(count: int):
        until = frames(tmp_path / "run") + count
        return lambda: frames(tmp_path / "run") >= until

    started.until(further(200))
    workers()[0].send_signal(signal.SIGKILL)
    started.until(lambda: len(lost()) == 1).until(lambda: len(workers()) == 3).until(further(200))
    cluster[0].remove_node(nodes.pop())
    started.until(lambda: len(lost()) == 2).until(further(200))  # two of three go on; there is no room for the third
    started.until(lambda: log.read_text().count(SILENCE) == 1)
    nodes.append(cluster[0].add_node(num_cpus=1))
    started.until(lambda: len(workers()) == 3).until(further(600))
    stopped = workers()
    for worker in stopped:
        worker.suspend()
    try:
        started.until(lambda: log.read_text().count(SILENCE) >= 4)
    finally:
        for worker in stopped:
            worker.resume()
    started.until(further(200))
    ended = started.signal(signal.SIGTERM).wait()
    assert ended.code == 128 + signal.SIGTERM, ended.err
    assert len({stream for _, stream in lost()}) == len(lost()) == 2

    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    again = run("pipelines.resume", "run=run", f"total_frames={saved['frames'] + 400}", cwd=tmp_path)
    assert again.code == 0, again.err
    assert checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))["frames"] == saved["frames"] + 400
