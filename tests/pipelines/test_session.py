"""One sitting of a run among others: jobs of a multirun, other processes, and what comes after an early stop."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cases import later
from tests.pipelines.launch import LIMIT_S, ROOT, run
from tests.pipelines.test_train import assert_two_jobs

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "total_frames=100")
ENDED = ("finished", "finished")  # the first two jobs of `endless_jobs`


def test_a_job_that_fails_leaves_the_other_jobs_of_a_multirun_alone(tmp_path):
    (tmp_path / "fault").touch()
    words = ("env.id=tests.pipelines.faulty:Faulty-v0", "env.keep=null", "+env.kwargs.flag=fault")
    # The fault comes with the 90th step of the process or later: in the first job, and in no other because it is
    # only armed there.
    ended = run(
        "pipelines.train", "-m", *TINY, *words, "+env.kwargs.at=60,1_000_000_000", "hydra.sweep.dir=sweep", cwd=tmp_path
    )
    assert ended.code != 0
    assert "the motor is on fire" in ended.err + ended.out
    found = {path.parent.name: json.loads(path.read_text())["status"] for path in tmp_path.glob("sweep/*/summary.json")}
    assert found == {"env.kwargs.at=60": "failed", "env.kwargs.at=1000000000": "finished"}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def endless_jobs(tmp_path):
    """A multirun in two workers of joblib: two jobs that have ended, and two without end; ended by force afterwards."""
    words = (*TINY, "total_frames=80,10_000_000", "seed=0,1", "logger=wandb", "hydra.sweep.dir=sweep")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HOME": str(tmp_path)}
    env.pop("WANDB_MODE", None)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines.train", "-m", *words, *joblib]
        parent = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: sorted(statuses(tmp_path)) == [*ENDED, "running", "running"])
        yield parent, [kid for kid in psutil.Process(parent.pid).children() if "LokyProcess" in str(kid.cmdline())]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def statuses(cwd: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in cwd.glob("sweep/*/summary.json")]


@pytest.mark.slow
def test_workers_of_joblib_work_off_jobs_until_a_signal_ends_one_or_the_multirun_all_of_them(endless_jobs, tmp_path):
    parent, workers = endless_jobs
    assert len(workers) == 2
    assert_two_jobs(tmp_path / "sweep")
    workers[0].send_signal(signal.SIGTERM)
    wait_until(lambda: sorted(statuses(tmp_path)) == [*ENDED, "interrupted", "running"])
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(LIMIT_S) == -signal.SIGTERM
    wait_until(lambda: sorted(statuses(tmp_path)) == [*ENDED, "interrupted", "interrupted"])
    wait_until(lambda: not [kid for kid in workers[1:] if kid.is_running() and kid.status() != psutil.STATUS_ZOMBIE])
    for path in tmp_path.glob("sweep/*/summary.json"):
        saved = sorted((path.parent / "checkpoints").glob("frames_*.pt"))[-1]
        assert int(saved.stem.removeprefix("frames_")) == json.loads(path.read_text())["frames"]


def test_a_directory_in_which_another_process_works_is_refused(tmp_path):
    assert run("pipelines.train", *TINY, "hydra.run.dir=run", cwd=tmp_path).code == 0
    folder = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        ended = run("pipelines.resume", "run=run", "total_frames=200", cwd=tmp_path)
    finally:
        os.close(folder)
    assert ended.code == 2
    assert ended.err == "error: run: another process is at work there\n"


@pytest.mark.parametrize("goal", ["stop_at_score=1", later("stop_at_length=400")])
def test_a_run_that_stopped_early_goes_on_only_with_another_goal(goal, tmp_path):
    settings = (*TINY, "total_frames=400", "eval_every=40", goal, "hydra.run.dir=run")
    assert run("pipelines.train", *settings, cwd=tmp_path).code == 0
    summary = tmp_path / "run" / "summary.json"
    assert json.loads(summary.read_text())["frames"] == 40
    refused = run("pipelines.resume", "run=run", cwd=tmp_path)
    assert refused.code == 2
    name = goal.partition("=")[0]
    assert f"{goal}.0: run has reached it" in refused.err
    assert run("pipelines.resume", "run=run", f"{name}=null", cwd=tmp_path).code == 0
    assert json.loads(summary.read_text())["frames"] == 400
