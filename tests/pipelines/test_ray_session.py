"""Ray in a process that goes on: what a run has begun ends with it, and what is the user's stays."""

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from modules.spec import UsageError
from pipelines.api import RunFailed, compose, sweep, train
from pipelines.training import build

WORDS = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "collector=ray", "collector.num_envs=2")


class FakeRay(ModuleType):
    """A Ray of four CPUs to connect to, in which nothing runs."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = importlib.machinery.ModuleSpec("ray", None)
        self.namespace: str | None = None

    def init(self, *, namespace: str = "", **_: Any) -> None:
        self.namespace = namespace

    def shutdown(self) -> None:
        self.namespace = None

    def is_initialized(self) -> bool:
        return self.namespace is not None

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(namespace=self.namespace)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}


@pytest.fixture
def ray(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", found := FakeRay())
    return found


@pytest.mark.parametrize("before", [None, "the user's"])
def test_a_run_that_cannot_be_built_leaves_ray_as_it_was(before, ray, monkeypatch):
    def fail(*_):
        assert ray.is_initialized()
        raise RuntimeError("no room for a table")

    monkeypatch.setattr(build, "logger_of", fail)
    ray.namespace = before
    with pytest.raises(RunFailed, match="no room for a table"):
        train(compose(*WORDS), run_dir="run", bar=False)
    assert ray.namespace == before


def test_a_sweep_that_is_refused_leaves_no_ray(ray):
    with pytest.raises(UsageError, match="are 8 CPUs, and the cluster at"):
        sweep(*WORDS, "collector.cpus_per_worker=1,4", sweep_dir="sweep", bar=False)
    assert not ray.is_initialized()
