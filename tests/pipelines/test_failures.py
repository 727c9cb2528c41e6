"""What fails before the loop, in a job of a multirun, or in code of a user's that ends or cannot be closed."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from modules import checkpoint
from tests.pipelines.launch import Ended, run

SMALL = ("+debug=smoke", "threads=1", "total_frames=80", "hydra.run.dir=run")
STATE = ("+exp=drqn_cartpole_masked", *SMALL, "video=false")
ODD = (*STATE, "env=gym", "env.id=tests.pipelines.odd_ends:Odd-v0", "env.max_steps=9", "network/torso=mlp")
WAYS = {
    "error": ("RuntimeError: no seat", 1, "failed"),
    "exit": ("sys.exit(7) was called", 1, "failed"),
    "signal": ("stopped by SIGTERM before training began", 143, "interrupted"),
}


def fail_late_in_build(how: str, seeds: tuple[int, ...] = (0,)) -> None:
    """Let something go wrong when environments, replay and logs are open already, in runs of some seeds."""
    from pipelines.training import build

    def announce(run):
        if run.seed in seeds:
            go_wrong(how)

    build.announce = announce


def fail_to_load() -> None:
    from pipelines.training.loop import Loop

    Loop.load = lambda self, state: go_wrong("error")  # type: ignore[method-assign]


def go_wrong(how: str) -> None:
    if how == "exit":
        sys.exit(7)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError("no\nseat")


def train(cwd: Path, *words: str, **more) -> Ended:
    ended = run("pipelines.train", *words, cwd=cwd, **more)
    assert "Traceback" not in ended.out + ended.err
    assert "Exception ignored" not in ended.err
    return ended


def summary(cwd: Path, place: str = "run") -> dict:
    return json.loads((cwd / place / "summary.json").read_text())


@pytest.mark.parametrize("how", WAYS)
def test_what_fails_before_the_loop_is_told_and_the_folder_can_be_used_again(how, tmp_path):
    says, code, status = WAYS[how]
    here = tmp_path / "run"
    ended = train(tmp_path, *STATE, before=partial(fail_late_in_build, how))
    assert ended.code == code
    assert says in (ended.out + ended.err).splitlines()[-1]
    assert says in (here / "train.log").read_text()
    assert [summary(tmp_path)[key] for key in ("status", "frames", "score")] == [status, 0, None]
    assert (here / "metrics.csv").exists()
    assert (here / "error.txt").exists() == (status == "failed")
    assert train(tmp_path, *STATE, "seed=1").code == 0
    assert [summary(tmp_path)[key] for key in ("status", "seed")] == ["finished", 1]
    assert not (here / "error.txt").exists()
    again = train(tmp_path, *STATE)
    assert [again.code, "a run is there already" in again.err] == [2, True]


def test_a_run_that_cannot_be_loaded_says_so_and_goes_on_later(tmp_path):
    assert train(tmp_path, *STATE).code == 0
    words = ("run=run", "total_frames=160")
    ended = run("pipelines.resume", *words, cwd=tmp_path, before=fail_to_load)
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert "failed before training began: RuntimeError: no seat" in last
    assert "continue by `python -m pipelines.resume run=" in last
    assert "in fail_to_load" not in ended.err
    assert "no\nseat" in (tmp_path / "run" / "error.txt").read_text()
    assert [summary(tmp_path)["status"], summary(tmp_path)["frames"]] == ["failed", 80]
    assert run("pipelines.resume", *words, cwd=tmp_path).code == 0
    assert [summary(tmp_path)["status"], summary(tmp_path)["frames"]] == ["finished", 160]


def test_the_end_of_a_multirun_names_every_job_that_failed(tmp_path):
    words = (*STATE, "seed=0,1,2", "hydra.sweep.dir=sweep")
    ended = train(tmp_path, "-m", *words, before=partial(fail_late_in_build, "error", (0, 2)))
    assert ended.code == 1
    lines = ended.err.splitlines()
    at = lines.index("error: 2 of the jobs did not finish:")
    jobs = [line for line in lines[at + 1 :] if "/seed=" in line]
    for job, seed in zip(jobs, (0, 2), strict=True):
        assert job.startswith(f"{tmp_path / 'sweep' / f'seed={seed}'} (")
        assert f" seed={seed} " in f"{job.partition(')')[0]} "
        assert "failed before training began: RuntimeError: no seat" in job
    places = [f"sweep/seed={n}" for n in range(3)]
    assert [summary(tmp_path, place)["status"] for place in places] == ["failed", "finished", "failed"]


@pytest.mark.parametrize("wrong", ["viewer in close", "exit in close", "error in close"])
def test_environments_that_cannot_be_closed_do_not_end_a_run(wrong, tmp_path):
    ended = train(tmp_path, *ODD, "video=true", f"+env.kwargs.wrong={wrong}")
    assert ended.code == 0
    said = ended.out + ended.err
    assert "tests.pipelines.odd_ends:Odd-v0 could not be closed: " in said
    assert "finished: greedy return" in said.splitlines()[-1] or "could not be closed" in said.splitlines()[-1]
    assert summary(tmp_path)["status"] == "finished"
    assert [*(tmp_path / "run" / "videos").glob("*.mp4")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("exit in step", "sys.exit(7) was called"), ("error in step and exit in close", "RuntimeError: not today")],
)
def test_what_goes_wrong_first_is_what_is_told_and_everything_is_saved(wrong, says, tmp_path):
    ended = train(tmp_path, *ODD, f"+env.kwargs.wrong={wrong}", "+env.kwargs.at=15")
    assert ended.code == 1
    assert f"failed at frame {summary(tmp_path)['frames']}: {says} (traceback in " in ended.out + ended.err
    assert summary(tmp_path)["status"] == "failed"
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))["frames"]
    assert saved == summary(tmp_path)["frames"] > 0
    assert "odd_ends.py" in (tmp_path / "run" / "error.txt").read_text()


def test_a_crash_of_native_code_leaves_its_place_in_the_log_and_the_checkpoints(tmp_path):
    ended = train(tmp_path, *ODD, "+env.kwargs.wrong=crash in step", "+env.kwargs.at=15")
    assert ended.code in (-signal.SIGSEGV, -signal.SIGABRT)  # pygame, where it is imported, makes one of the other
    log = (tmp_path / "run" / "train.log").read_text()
    assert "Segmentation fault" in log
    assert "odd_ends.py" in log
    assert checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")


@pytest.mark.parametrize("wrong", ["exit in make", "exit in reset", "error in reset", "exit in step"])
def test_what_goes_wrong_at_once_is_refused_in_a_dry_run(wrong, tmp_path):
    ended = train(tmp_path, *ODD, "dry=true", f"+env.kwargs.wrong={wrong}")
    assert [ended.code, ended.err.count("\n")] == [2, 1]
    assert ("sys.exit(7) was called" if "exit" in wrong else "RuntimeError: not today") in ended.err
    assert list(tmp_path.iterdir()) == []


def test_an_environment_without_a_time_limit_is_told_before_training(tmp_path):
    ended = train(tmp_path, *ODD, "env.max_steps=null", "dry=true")
    assert ended.code == 0
    assert "no time limit of tests.pipelines.odd_ends:Odd-v0 is known" in ended.out + ended.err
    assert "until the next save ends it" in ended.out + ended.err
    assert "env.max_steps gives it a limit" in ended.out + ended.err
    assert "no time limit" not in train(tmp_path, *ODD, "dry=true").out


def test_evaluations_of_one_without_end_are_cut_off_and_say_so_once(tmp_path):
    ended = train(tmp_path, *ODD, "env.max_steps=null", "eval_max_steps=30", "eval_every=40")
    assert ended.code == 0
    assert (ended.out + ended.err).count("cut off after 30 steps (eval_max_steps)") == 1
    assert [summary(tmp_path)[key] for key in ("score", "score_std")] == [30.0, 0.0]
    evaluated = run("pipelines.evaluate", "run=run", "episodes=3", cwd=tmp_path)
    assert [evaluated.code, evaluated.err.count("cut off after 30 steps")] == [0, 1]
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["returns"] == [30.0] * 3


def test_an_environment_that_ends_an_evaluation_is_one_sentence(tmp_path):
    assert train(tmp_path, *ODD, "+env.kwargs.wrong=error in nothing").code == 0
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("error in nothing", "exit in step").replace("at: 0", "at: 3"))
    ended = run("pipelines.evaluate", "run=run", "episodes=3", cwd=tmp_path)
    assert [ended.code, ended.err.count("\n")] == [1, 1]
    assert "error: run: sys.exit(7) was called (" in ended.err
