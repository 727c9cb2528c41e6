"""What becomes of callbacks, and of what parts keep, when a run ends before its end and is resumed."""

from collections import deque

import numpy as np
import pytest

from modules.callbacks import TrainingCallback
from modules.checkpoint import newest_whole
from modules.metrics import Metric
from pipelines import api
from pipelines.resume import Resume, resume

TINY = (
    "+exp=drqn_cartpole_masked",
    "+debug=smoke",
    "total_frames=120",
    "eval_every=40",
    "eval_episodes=1",
    "video=false",
)
FILE = """
from modules.callbacks import CallbackSpec, TrainingCallback
from modules.metrics import Metric
from modules.spec import spec


class Counter(TrainingCallback):
    def __init__(self, stop):
        self.told, self.stop = 0, stop

    def on_evaluation(self, training, episodes):
        self.told += 1
        self.should_stop = self.told == self.stop

    def measures_after(self, training):
        return {"counter/told": self.told}

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state):
        self.told = state["told"]


@spec
class CounterSpec(CallbackSpec):
    metrics = (Metric("counter/told", "count", "evaluations so far"),)
    stop: int

    def build(self, context):
        return Counter(self.stop)


class Trouble(TrainingCallback):
    def on_evaluation(self, training, episodes):
        if training.frames == 80 and not (training.run_dir / "again").exists():
            (training.run_dir / "again").touch()
            raise RuntimeError("once")


@spec
class TroubleSpec(CallbackSpec):
    def build(self, context):
        return Trouble()
"""


def settings(tmp_path, monkeypatch, *words, stop=0):
    (tmp_path / "counting.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    mine = ["plugins=[counting]", "callbacks.counter._target_=counting.CounterSpec", f"callbacks.counter.stop={stop}"]
    return api.compose(*TINY, *mine, *words)


def told(run_dir):
    lines = [line.split(",") for line in (run_dir / "metrics.csv").read_text().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return {row["frames"]: row["counter/told"] for row in rows if row["eval/return_mean"]}


def go_on(run_dir, **changes):
    resume(Resume(run=run_dir, plugins=("counting",), changes=changes), bar=False)


def test_an_evaluation_is_told_once_even_if_a_callback_fails_in_it(tmp_path, monkeypatch):
    given = settings(tmp_path, monkeypatch, "callbacks.a_trouble._target_=counting.TroubleSpec")
    with pytest.raises(api.RunFailed, match=r"callbacks.a_trouble: RuntimeError: once"):
        api.train(given, run_dir="run", bar=False)
    go_on(tmp_path / "run")
    assert list(map(float, told(tmp_path / "run").values())) == [1, 2, 3]


def test_a_run_that_a_callback_has_ended_stays_ended(tmp_path, monkeypatch):
    api.train(settings(tmp_path, monkeypatch, stop=2), run_dir="run", bar=False)
    assert newest_whole(tmp_path / "run" / "checkpoints")[1]["frames"] == 80
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    go_on(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize("kept", [deque([1]), np.float64(1), {"a": [np.zeros(2)]}])
def test_what_could_not_be_read_back_is_refused_before_anything_is_learned(kept, tmp_path, monkeypatch):
    class Keeps(TrainingCallback):
        def state_dict(self):
            return {"kept": kept}

    with pytest.raises(api.RunFailed, match=r"TypeError: callbacks\['Keeps'\].*cannot be kept in a checkpoint"):
        api.train(settings(tmp_path, monkeypatch), callbacks=[Keeps()], run_dir="run", bar=False)


def test_a_missing_callback_is_named_and_hooks_come_in_order(tmp_path, monkeypatch, caplog):
    heard = []

    class Listens(TrainingCallback):
        def on_start(self, training):
            heard.append("start")

        def on_checkpoint(self, training, path):
            heard.append("checkpoint")

        def state_dict(self):
            return {"heard": len(heard)}

    api.train(settings(tmp_path, monkeypatch), callbacks=[Listens()], run_dir="run", bar=False)
    assert heard[:2] == ["start", "checkpoint"]
    go_on(tmp_path / "run", total_frames=160)
    assert "callbacks of this run are missing now and hear nothing: Listens" in caplog.text


def test_two_metrics_of_one_name_are_refused(tmp_path, monkeypatch):
    class Other(TrainingCallback):
        metrics = (Metric("loss/q", "1", "something else"),)

    with pytest.raises(api.UsageError, match="metric loss/q: Other declares another one of this name"):
        api.train(settings(tmp_path, monkeypatch), callbacks=[Other()], run_dir="run", bar=False)


def test_torchrls_own_loss_resumes(tmp_path, monkeypatch):
    api.train(settings(tmp_path, monkeypatch, "loss=torchrl_dqn"), run_dir="run", bar=False)
    go_on(tmp_path / "run", total_frames=160)
    assert newest_whole(tmp_path / "run" / "checkpoints")[1]["frames"] == 160
