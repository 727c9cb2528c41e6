"""Optuna: trials are means over seeds, hopeless ones end early, and a killed study continues."""

import contextlib
import json
import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from hydra_plugins.recall_optuna import OptunaSweeper
from modules.callbacks.pruning import Pruning, PruningSpec
from modules.callbacks.study import FILE, create_study, load_study
from modules.spec import UsageError
from pipelines.study import describe
from pipelines.training.preflight import preflight
from tests.pipelines.launch import launch, preset, run

optuna = pytest.importorskip("optuna", reason="needs the extra optuna")

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "threads=1", "total_frames=120", "eval_every=40")
TINY += ("eval_episodes=1", "save_every=40")
SPACE = ("optim.lr=tag(log,interval(1e-4,1e-2))", "network/memory=none,lstm", "seed=0,1")
OPTUNA = ("-m", *TINY, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweep.dir=sweep")


def scores(sweep: Path, trial) -> list[float]:
    found = sweep.glob(f"network.memory={trial.params['network/memory']},optim.lr={trial.params['optim.lr']!r},seed=*")
    return [json.loads((job / "summary.json").read_text())["score"] for job in found]


def test_a_killed_study_goes_on_to_its_number_of_trials(tmp_path):
    sweep = tmp_path / "sweep"
    words = (*OPTUNA, *SPACE, "hydra.sweeper.prune=false")
    started = launch("pipelines.train", *words, cwd=tmp_path)
    started.until(lambda: len([*sweep.glob("*/summary.json")]) == 4)  # the second trial's second seed
    assert started.signal(signal.SIGKILL).wait().code == -signal.SIGKILL
    before = load_study(sweep).get_trials()
    assert [trial.state.name for trial in before] == ["COMPLETE", "RUNNING"]
    assert "a study is there already; continue it by" in run("pipelines.train", *words, cwd=tmp_path).err
    ended = run("pipelines.resume", "run=sweep", cwd=tmp_path)
    assert ended.code == 0, ended.err
    trials = load_study(sweep).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert [trial.params for trial in trials[:2]] == [trial.params for trial in before]
    for trial in trials:
        found = scores(sweep, trial)
        assert len(found) == 2
        assert trial.value == sum(found) / 2
    assert len([path for path in sweep.iterdir() if path.is_dir()]) == 8


def test_a_hopeless_trial_ends_early_and_its_other_seeds_never_begin(tmp_path):
    """A study whose trials before had 500 at every frame, which no smoke run reaches."""
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    study = create_study(sweep, "maximize", 0)
    for _ in range(2):
        trial = study.ask({"optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)})
        for frames in (40, 80, 120):
            trial.report(500.0, frames)
        study.tell(trial, 500.0)
    words = (*OPTUNA, SPACE[0], SPACE[2], "hydra.sweeper.startup_trials=1", "resume=auto", "hydra.sweeper.n_trials=3")
    ended = run("pipelines.train", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert [trial.state.name for trial in load_study(sweep).get_trials()] == ["COMPLETE", "COMPLETE", "PRUNED"]
    (job,) = [path for path in sweep.iterdir() if path.is_dir()]
    summary = json.loads((job / "summary.json").read_text())
    assert [summary["frames"], summary["status"]] == [40, "pruned"]
    assert "pruned: greedy return" in ended.out
    assert run("pipelines.resume", f"run={job}", cwd=tmp_path).code == 0  # there is nothing left to do
    assert json.loads((job / "summary.json").read_text())["status"] == "pruned"


class Objective:
    """A launcher whose jobs fail as often as said for their trial, and else have its number as their value."""

    def __init__(self, fails: dict[int, int]) -> None:
        self.fails, self.launched = fails, list[int]()

    def launch(self, jobs, initial_job_idx: int) -> list[JobReturn]:
        found = []
        for number, _ in enumerate(jobs, initial_job_idx):
            self.launched.append(number)
            bad = self.fails.get(number, 0) > 0
            self.fails[number] = self.fails.get(number, 0) - 1
            job = JobReturn(status=JobStatus.FAILED if bad else JobStatus.COMPLETED)
            job.return_value = ValueError(f"trial {number}") if bad else float(number)
            found.append(job)
        return found


def sit(folder: Path, objective: Objective, **settings: int) -> list[str]:
    """Run a study in `folder` as one command would; return the states of its trials."""
    sweeper = OptunaSweeper(
        **{"n_trials": 3, "n_jobs": 1, "direction": "maximize", "sampler_seed": 0, "prune": False, "startup_trials": 5}
        | {"warmup": 0, "retries": 1, "params": {}} | settings  # type: ignore[arg-type]
    )  # fmt: skip
    sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
    sweeper.config = OmegaConf.create({"dry": False, "hydra": {"sweep": {"dir": str(folder)}}})
    sweeper.launcher = objective  # type: ignore[assignment]
    with contextlib.suppress(ValueError):
        sweeper.sweep(["optim.lr=interval(1e-4,1e-2)"])
    return [trial.state.name for trial in load_study(folder).get_trials()]


def test_a_failed_trial_is_tried_again_once_in_each_further_sitting_with_what_it_was(tmp_path):
    objective = Objective({0: 1, 1: 2})
    assert sit(tmp_path, objective) == ["RUNNING", "RUNNING", "COMPLETE"]
    before = [trial.params for trial in load_study(tmp_path).get_trials()]
    assert "; 2 failed; the best" in describe(tmp_path)
    assert sit(tmp_path, objective) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert objective.launched == [0, 1, 2, 0, 1]
    assert [trial.params for trial in load_study(tmp_path).get_trials()] == before
    assert sit(tmp_path, objective) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(objective.launched) == 5
    assert sit(tmp_path / "never", Objective({0: 9}), retries=0)[0] == "FAIL"


@pytest.mark.parametrize(("score", "stops"), [(9.0, True), (11.0, False)])
def test_the_median_of_the_trials_before_decides(score, stops, tmp_path):
    study = create_study(tmp_path, "maximize", 0)
    for _ in range(3):
        trial = study.ask({})
        trial.report(10.0, 40)
        study.tell(trial, 10.0)
    study.ask({})
    callback = Pruning(PruningSpec(trial=3, startup_trials=2, warmup=0))
    training = SimpleNamespace(run_dir=tmp_path / "run", frames=40)
    callback.on_start(training)  # type: ignore[arg-type]
    callback.on_evaluation(training, SimpleNamespace(metrics=lambda: {"eval/return_mean": score}))  # type: ignore[arg-type]
    assert callback.should_stop == stops
    assert load_study(tmp_path).get_trials()[3].intermediate_values == {40: score}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("optim.lrr=interval(1,2)", r"optim\.lrr: no such setting; did you mean optim\.lr"),
        ("optim.lr=interval(-1,2)", r"optim\.lr: "),
        ("optim.lr=tag(log,interval(0,2))", "must begin above 0"),
        ("optim.lr=interval(2,1)", "must begin below its end"),
        ("network.memory.hidden_size=interval(8,64)", r"network\.memory\.hidden_size: "),
        ("network/memory=choice(lstm,gru,elstm)", "network/memory=elstm: no such option"),
        ("loss.n_step=range(1,500,100)", r"loss\.n_step"),
        ("seed=range(5,5)", "nothing to choose from"),
    ],
)
def test_what_may_be_chosen_is_checked_before_a_trial_starts(word, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        preflight(["--multirun", *OPTUNA[1:], word])
    assert not list(tmp_path.iterdir())


def test_a_study_that_is_there_is_seen_if_a_preset_chooses_the_sweeper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    create_study(tmp_path / "sweep", "maximize", 0)
    words = ["--multirun", *TINY, *preset(tmp_path, "sweeper: optuna"), SPACE[0]]
    preflight([*words, "hydra.sweep.dir=other"])
    with pytest.raises(UsageError, match="a study is there already"):
        preflight([*words, "hydra.sweep.dir=sweep"])


def test_whole_numbers_and_choices_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("network.memory.hidden_size=int(interval(8,64))", "optim.lr=choice(1e-3,1e-4)", "seed=0,1")
    preflight(["--multirun", *OPTUNA[1:], *words])
    with pytest.raises(UsageError, match=r"network\.memory\.hidden_size"):  # an end of it is looked at
        preflight(["--multirun", *OPTUNA[1:], words[0].replace("8,64", "-8,64"), *words[1:]])


def test_the_pictures_show_all_trials(tmp_path):
    study = create_study(tmp_path, "maximize", 0)
    space = {
        "optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "network/memory": optuna.distributions.CategoricalDistribution(["lstm", "none"]),
    }
    for number in range(6):
        study.tell(study.ask(space), float(number))
    study.tell(study.ask(space), state=optuna.trial.TrialState.PRUNED)
    text = describe(tmp_path)
    assert text.startswith("7 trials, 1 of them pruned")
    assert "  5.00  optim.lr=" in text
    for name in ("parallel_coordinates.png", "importances.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 5
    with pytest.raises(UsageError, match="no study is there"):
        describe(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).write_text("no database")
    with pytest.raises(UsageError, match="not readable as a study"):
        describe(tmp_path / "other")
