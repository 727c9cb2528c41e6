"""Recall from Python: resume, sweeps and reports, and what a notebook shows of them."""

import os
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from modules.plots.figure import with_palette
from pipelines.api import Report, Result, RunFailed, TrainingCallback, UsageError, compose, report, resume, sweep, train
from tests.pipelines.faulty import Faulty
from tests.pipelines.launch import run
from tests.pipelines.saved_runs import MASKED

TINY = (MASKED, "+debug=smoke", "video=false", "total_frames=100", "threads=1")


class Sign(gymnasium.Env):
    """As a cell would define it."""

    observation_space, action_space = Box(0, 1, (2,), np.float32), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count = 0
        return np.array([self.np_random.integers(2), 0], np.float32), {}

    def step(self, action):
        self.step_count += 1
        return np.array([0, self.step_count / 5], np.float32), float(action), self.step_count == 5, False, {}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder outside the repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Heard(TrainingCallback):
    """What a run tells, and when its picture was drawn."""

    def __init__(self):
        self.rows, self.drawn, self.ends = [], [], []

    def on_row(self, training, metrics):
        self.rows.append((training.run_dir / "metrics.csv").read_text().count("\n") - 1)
        path = training.run_dir / "learning_curve.png"
        self.drawn.append(os.stat(path).st_mtime_ns if path.exists() else 0)

    def on_end(self, training, status):
        self.ends.append((training.frames, status))


def test_a_run_is_resumed_as_by_the_command_and_watched(place):
    train(compose(*TINY), run_dir="run", bar=False)
    heard = Heard()
    result = resume("run", "total_frames=200", bar=False, callbacks=[heard])
    assert (result.run_dir, result.summary["frames"]) == (place / "run", 200)
    assert heard.ends == [(200, "finished")]
    with pytest.raises(UsageError, match="seed: it cannot be changed at a resume"):
        resume("run", "seed=3")
    with pytest.raises(UsageError, match="no run is there"):
        resume("nowhere")


def test_an_environment_of_a_cell_is_resumed_after_the_kernel_began_again(place):
    gymnasium.register("Sign-v0", Sign, max_episode_steps=9)
    words = ("algo=dqn", "env=gym", "env.id=Sign-v0", "network/torso=mlp", "+debug=smoke", "video=false", "threads=1")
    train(compose(*words, "total_frames=100"), run_dir="run", bar=False)
    del gymnasium.registry["Sign-v0"]  # as a new kernel is
    try:
        with pytest.raises(UsageError, match="Gymnasium knows no environment 'Sign-v0'"):
            resume("run", "total_frames=200", bar=False)
        result = resume("run", "total_frames=200", bar=False, env=Sign, max_episode_steps=9)
        assert result.summary["frames"] == 200
    finally:
        gymnasium.registry.pop("Sign-v0", None)


def test_a_sweep_trains_every_combination_in_folders_named_by_what_varies(place):
    runs = sweep(*TINY, "network/memory=gru,none", "seed=3,4", sweep_dir="all", bar=False)
    names = [f"network.memory={memory},seed={seed}" for memory in ("gru", "none") for seed in (3, 4)]
    assert [result.run_dir for result in runs] == [place / "all" / name for name in names]
    assert [(r.summary["memory"], r.summary["seed"]) for r in runs] == [
        ("gru", 3),
        ("gru", 4),
        ("none", 3),
        ("none", 4),
    ]
    found = report(*runs[:2], against=runs[2:], out="compared")
    assert isinstance(found, Report)
    assert "gru" in found.text
    page = found._repr_html_()
    assert page.count("<img ") == 1
    assert "data:image/png;base64,iVBOR" in page
    with pytest.raises(UsageError, match="'nowhere' is no folder"):
        report("nowhere")
    with pytest.raises(UsageError, match="a run is there already"):
        sweep(*TINY, "network/memory=gru,none", "seed=3,4", sweep_dir="all", bar=False)


def test_a_sweep_that_was_interrupted_is_continued_by_its_folder(place, monkeypatch):
    """Also the job that never began."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.training.api.start_or_resume", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(*TINY, "env.max_steps=30,40", sweep_dir="all", bar=False)
    assert run("pipelines.train", *TINY, "env.max_steps=30", "hydra.run.dir=all/env.max_steps=30", cwd=place).code == 0
    ended = run("pipelines.resume", "run=all", cwd=place)
    assert ended.code == 0, ended.err
    assert ended.out.count("is finished already") == 1
    states = {path.parent.name: Result(path.parent).summary["status"] for path in place.glob("all/*/summary.json")}
    assert states == {"env.max_steps=30": "finished", "env.max_steps=40": "finished"}


def test_nothing_of_a_sweep_begins_that_has_a_mistake(place):
    with pytest.raises(UsageError, match=r"optim.lr: it should be greater than 0"):
        sweep(*TINY, "optim.lr=1e-3,0", sweep_dir="all", bar=False)
    with pytest.raises(UsageError, match="no such option here"):
        sweep("-m", *TINY)
    assert not (place / "all").exists()


def test_a_run_that_fails_does_not_end_a_sweep(place, monkeypatch):
    monkeypatch.setattr(Faulty, "steps", 0)  # which it counts over the whole process
    words = (
        "env.id=tests.pipelines.faulty:Faulty-v0",
        "env.keep=null",
        "env.kwargs.flag=fault",
        "env.kwargs.at=40,4000",
    )
    (place / "fault").touch()
    with pytest.raises(RunFailed, match=r"1 of 2 runs did not finish: .*at=40: .*the motor is on fire"):
        sweep(*TINY, *words, sweep_dir="all", bar=False)
    states = {path.parent.name: Result(path.parent).summary["status"] for path in place.glob("all/*/summary.json")}
    assert sorted(states.values()) == ["failed", "finished"]


def test_a_notebook_shows_settings_and_results(place):
    settings = compose(*TINY, "seed=3")
    assert "seed 3" in settings._repr_html_()
    assert "&lt;" not in settings._repr_html_()
    assert "<details>" in settings._repr_html_()
    result = train(settings, run_dir="run", bar=False)
    page = result._repr_html_()
    assert all(f">{name}<" in page for name in ("status", "frames", "score", "seed", "memory"))
    assert "finished" in page
    assert page.count("<img ") == 1
    assert "no summary of a run is there" in Result(place / "nowhere")._repr_html_()
    with pytest.raises(UsageError, match="no film is there"):
        _ = result.video
    (place / "run" / "videos").mkdir()
    (place / "run" / "videos" / "frames_1.mp4").touch()
    assert result.video.name == "frames_1.mp4"


def test_metrics_are_a_table_of_pandas_where_that_is_installed(place, monkeypatch):
    pandas = pytest.importorskip("pandas", reason="an extra")
    result = train(compose(*TINY), run_dir="run", bar=False)
    assert isinstance(result.metrics, pandas.DataFrame)
    plain = Result(result.run_dir)
    monkeypatch.setattr("pipelines.reporting.result.importlib.util.find_spec", lambda name: None)
    assert list(plain.metrics) == list(result.metrics.columns)
    np.testing.assert_array_equal(plain.metrics["frames"], result.metrics["frames"])


def test_the_learning_curve_is_drawn_anew_at_each_evaluation(place):
    heard = Heard()
    words = (*TINY, "log_every=20", "eval_every=40", "callbacks.curve.share=1")
    train(compose(*words), run_dir="run", bar=False, callbacks=[heard])
    assert heard.rows == [1, 2, 3, 4, 5]  # each is told once its row is there
    before, second, third, fourth, last = heard.drawn
    assert before == 0
    assert second == third
    assert len({second, fourth, last}) == 3  # at 40, 80 and the end
    seldom = Heard()
    train(compose(*words[:-1], "callbacks.curve.share=0"), run_dir="other", bar=False, callbacks=[seldom])
    assert len(set(seldom.drawn)) == 2  # nothing, then the first


def test_a_notebook_shows_the_curve_in_one_place_while_it_trains(place, monkeypatch):
    shown = []
    handle = SimpleNamespace(update=lambda picture: shown.append(("again", picture.data)))

    def display(picture, *, display_id):
        shown.append(("first", picture.data))
        return handle

    image = SimpleNamespace(Image=lambda *, data, width: SimpleNamespace(data=data), display=display)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", image)
    train(compose(*TINY, "eval_every=40", "callbacks.curve.share=1"), run_dir="run")
    assert [kind for kind, _ in shown][:2] == ["first", "again"]
    assert shown[-1][1] == with_palette((place / "run" / "learning_curve.png").read_bytes())
    shown.clear()
    train(compose(*TINY), run_dir="quiet", bar=False)
    assert not shown
