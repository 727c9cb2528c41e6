"""Callbacks of one's own, by the page's recipe: one that prunes, one that uploads, and ones that go wrong."""

import json
import re
import signal
from functools import partial
from pathlib import Path

import pytest

from modules.callbacks import TrainingCallback
from modules.learner.learner import Learner
from modules.metrics import Metric
from modules.replay.sequence import SequenceReplay
from modules.spec import UsageError
from pipelines.api import RunFailed, compose, train
from tests.extending.recipe import die, go, rows, trains_and_all
from tests.pipelines import deaths
from tests.pipelines.launch import ROOT

PAGE = (ROOT / "docs" / "callbacks.md").read_text()
(PRUNER,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
UPLOADER = """
import shutil

from modules.callbacks import CallbackSpec, TrainingCallback
from modules.spec import spec


@spec
class UploaderSpec(CallbackSpec):
    to: str

    def build(self, context):
        return Uploader(self.to)


class Uploader(TrainingCallback):
    def __init__(self, to):
        self.to = to

    def on_checkpoint(self, training, path):
        shutil.copy(path, self.to)

    def on_end(self, training, status):
        (training.run_dir / "uploaded").write_text(status)
"""
SMALL = ("+exp=drqn_cartpole_masked", "+debug=smoke", "threads=1", "video=false", "eval_episodes=2", "total_frames=400")
SMALL += ("eval_every=40", "log_every=20", "save_every=80", "hydra.run.dir=run", "plugins=[pruner]")
PRUNES = ("callbacks.pruner._target_=pruner.PrunerSpec", "callbacks.pruner.patience=2")


@pytest.fixture
def here(tmp_path) -> Path:
    (tmp_path / "pruner.py").write_text(PRUNER)
    (tmp_path / "uploader.py").write_text(UPLOADER)
    return tmp_path


def summary(here: Path) -> dict:
    return json.loads((here / "run" / "summary.json").read_text())


def test_one_that_prunes_is_killed_resumes_bit_for_bit_and_the_run_is_used_as_any(here):
    assert go(here, "train", *SMALL, *PRUNES).code == 0
    expected, whole = (here / "run" / "metrics.csv").read_bytes(), rows(here)
    assert 80 < summary(here)["frames"] < 400
    assert summary(here)["status"] == "finished"
    counts = [float(row["pruner/evaluations_since_best"]) for row in whole]
    assert counts[-1] == 2
    assert counts[0] == 0
    assert go(here, "evaluate", "run=run", "episodes=2", "plugins=[pruner]").code == 0
    assert go(here, "export", "run=run", "plugins=[pruner]").code == 0
    assert go(here, "resume", "run=run", "plugins=[pruner]").code == 0  # which changes nothing
    assert (here / "run" / "metrics.csv").read_bytes() == expected
    (here / "run").rename(here / "whole")

    killed = go(here, "train", *SMALL, *PRUNES, before=partial(die, partial(deaths.in_step, 110)))
    assert killed.code == -signal.SIGKILL
    assert go(here, "resume", "run=run", "plugins=[pruner]").code == 0
    assert (here / "run" / "metrics.csv").read_bytes() == expected


def test_a_run_that_failed_says_how_it_is_resumed_and_what_failed_is_forgotten_once_it_has_finished(here):
    """Its command names the plugins; what is said after the resume goes to train.log too."""
    typo = PRUNER.replace('"pruner/evaluations_since_best": ', '"pruner/evaluation_since_best": ')
    assert typo != PRUNER
    (here / "pruner.py").write_text(typo)
    ended = go(here, "train", *SMALL, *PRUNES)
    assert ended.code == 1
    assert "did you mean pruner/evaluations_since_best?" in ended.out + ended.err
    assert re.search(r"continue by `python -m pipelines\.resume run=\S+ plugins=\[pruner\]`", ended.out + ended.err)
    assert (here / "run" / "error.txt").exists()
    (here / "pruner.py").write_text(PRUNER)
    assert go(here, "resume", "run=run", "plugins=[pruner]").code == 0
    assert not (here / "run" / "error.txt").exists()
    assert "finished: greedy return" in (here / "run" / "train.log").read_text().splitlines()[-1]


@pytest.mark.slow
def test_one_that_uploads_is_killed_and_resumes_and_the_run_is_used_as_any(here):
    (here / "cloud").mkdir()
    words = ("callbacks.up._target_=uploader.UploaderSpec", "callbacks.up.to=cloud")
    trains_and_all(here, "uploader", *words)
    assert len(list((here / "cloud").glob("frames_*.pt"))) >= 2
    for name in ("whole", "run"):
        assert (here / name / "uploaded").read_text() == "finished"


class Measuring(TrainingCallback):
    """Measures what it declares, or does not."""

    metrics = (Metric("mine/batches", "count", "batches so far"),)

    def __init__(self, name: str = "mine/batches") -> None:
        self.name, self.batches, self.heard = name, 0, []

    def on_start(self, training):
        self.heard.append("start")

    def on_batch(self, training, batch):
        self.batches += 1

    def on_update(self, training, measures):
        self.heard.append(training.updates)
        assert "loss/q" in measures

    def on_end(self, training, status):
        self.heard.append(status)

    def measures(self, training):
        return {self.name: self.batches}


def test_from_python(tmp_path):
    mine = Measuring()
    train(compose(*SMALL[:-2], "total_frames=120"), run_dir=tmp_path / "run", bar=False, callbacks=[mine])
    assert [float(row["mine/batches"]) for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert mine.heard[0] == "start"
    assert mine.heard[-1] == "finished"
    assert mine.heard[1:-1] == list(range(1, mine.heard[-2] + 1))


class Broken(TrainingCallback):
    """Goes wrong at one hook."""

    def __init__(self, hook: str) -> None:
        setattr(type(self), hook, self.fail)

    def fail(self, *_):
        raise ZeroDivisionError("no ink")


class Offline(TrainingCallback):
    """Cannot reach its cloud."""

    def on_evaluation(self, training, episodes):
        raise ConnectionError("no route")


class NoRoom(TrainingCallback):
    """Writes into a folder that is not there."""

    def on_evaluation(self, training, episodes):
        (training.run_dir / "nowhere" / "file").write_text("")


@pytest.mark.parametrize(
    ("mine", "says"),
    [
        (Offline(), r"callbacks\.Offline: ConnectionError: no route"),
        (NoRoom(), r"nowhere/file: No such file or directory \(callbacks\.NoRoom\)"),
    ],
    ids=["network", "file"],
)
def test_what_the_system_refuses_has_the_callbacks_name_too(mine, says, tmp_path):
    with pytest.raises(RunFailed, match=says):
        train(compose(*SMALL[:-2]), run_dir=tmp_path / "run", bar=False, callbacks=[mine])


@pytest.mark.parametrize("hook", ["on_batch", "on_update", "on_evaluation", "on_checkpoint", "on_end", "measures"])
def test_one_that_raises_ends_the_run_with_its_name_and_everything_saved(hook, tmp_path):
    kind = type("Inky", (Broken,), {})
    with pytest.raises(RunFailed, match=r"CallbackError: callbacks.Inky: ZeroDivisionError: no ink"):
        train(compose(*SMALL[:-2]), run_dir=tmp_path / "run", bar=False, callbacks=[kind(hook)])
    assert summary(tmp_path)["status"] == "failed"
    assert list((tmp_path / "run" / "checkpoints").glob("frames_*.pt"))


def test_a_metric_that_nobody_declares_ends_the_run_with_the_senders_name(tmp_path):
    with pytest.raises(RunFailed, match=r"callbacks.Measuring measured mine/bathces, which no part of this run"):
        train(compose(*SMALL[:-2]), run_dir=tmp_path / "run", bar=False, callbacks=[Measuring("mine/bathces")])


@pytest.mark.parametrize("part", [SequenceReplay, Learner])
def test_so_does_one_of_a_replay_or_a_learner(part, monkeypatch, tmp_path):
    monkeypatch.setattr(part, "measures", lambda _: {"replay/rws": 1.0})
    with pytest.raises(RunFailed, match=rf"{part.__name__} measured replay/rws, which no part of this run"):
        train(compose(*SMALL[:-2]), run_dir=tmp_path / "run", bar=False)


def test_a_wrong_setting_is_one_sentence(here):
    ended = go(here, "train", *SMALL, "callbacks.pruner._target_=pruner.PrunerSpec", "callbacks.pruner.patients=4")
    assert ended.code == 2
    assert "callbacks.pruner.patients: no such setting here; there are patience" in ended.err


def test_what_is_no_callback_is_refused():
    with pytest.raises(UsageError, match=r"callbacks\.x: AdamSpec does not belong here"):
        compose("callbacks.x._target_=modules.optim.AdamSpec", *(f"callbacks.x.{w}" for w in ADAM))


ADAM = ("lr=1", "lr_decay=1", "lr_decay_frames=1", "eps=1", "betas=[0.9,0.9]", "max_grad_norm=1")
ADAM += ("ema_decay=0",)
