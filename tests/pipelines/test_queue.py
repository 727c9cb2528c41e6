"""Jobs of a sweep in a queue: the time limit ends them, and they continue by themselves; cancelled, they do not."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.training.preflight import preflight
from pipelines.training.requeue import OFTEN, SLURM, requeued_often
from tests.pipelines.launch import ROOT, preset, run

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "threads=1", "total_frames=2_000", "save_every=20")
JOB = Path("sweep", "seed=3")
TINY += ("eval_every=1000", "eval_episodes=1")  # every batch is saved, so that a signal changes no metrics


def rows(run_dir: Path) -> int:
    path = run_dir / "metrics.csv"
    return len(list(csv.DictReader(path.open()))) if path.exists() else 0


def tasks(command: psutil.Process) -> list[psutil.Process]:
    """The processes in which submitit runs jobs."""
    return [child for child in command.children(recursive=True) if "submitit.core._submit" in child.cmdline()]


@contextlib.contextmanager
def signalled(signum: signal.Signals, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Send a signal to the job of a sweep in a queue once it trains."""
    words = ["-m", *TINY, "seed=choice(3)", "hydra.sweep.dir=sweep", "hydra/launcher=submitit_local"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    start = [sys.executable, "-m", "pipelines.train", *words]
    with subprocess.Popen(start, cwd=cwd, env=env, stderr=subprocess.PIPE, text=True) as command:
        until = time.monotonic() + 300
        while rows(cwd / JOB) < 3:
            assert time.monotonic() < until
            assert command.poll() is None
            time.sleep(0.05)
        (task,) = tasks(psutil.Process(command.pid))
        task.send_signal(signum)
        yield command


def assert_as_if_nothing_had_been(cwd: Path) -> None:
    assert json.loads((cwd / JOB / "summary.json").read_text())["status"] == "finished"
    whole = run("pipelines.train", *TINY, "seed=3", "hydra.run.dir=whole", cwd=cwd)
    assert whole.code == 0, whole.err
    assert (cwd / JOB / "metrics.csv").read_bytes() == (cwd / "whole" / "metrics.csv").read_bytes()


def test_a_job_whose_time_is_over_saves_waits_again_and_ends_as_if_nothing_had_been(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    with signalled(signal.SIGUSR2, tmp_path) as command:
        assert command.wait(300) == 0
    assert "stopped by SIGUSR2 at frame" in (tmp_path / JOB / "train.log").read_text()
    assert_as_if_nothing_had_been(tmp_path)


def test_a_job_that_is_cancelled_saves_and_is_not_started_again_but_by_hand(tmp_path):
    """SLURM sends SIGTERM for `scancel`."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    with signalled(signal.SIGTERM, tmp_path) as command:
        _, said = command.communicate(timeout=300)
    assert command.returncode == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: a job of the queue ended without a result")
    assert "stopped by SIGTERM at frame" in (tmp_path / JOB / "train.log").read_text()
    assert json.loads((tmp_path / JOB / "summary.json").read_text())["status"] == "interrupted"
    again = run("pipelines.resume", "run=sweep", cwd=tmp_path)
    assert again.code == 0, again.err
    assert_as_if_nothing_had_been(tmp_path)


@pytest.mark.parametrize("said", ["on the command line", "by a preset"])
def test_a_machine_without_a_queue_is_told(said, monkeypatch, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    words = (
        ["hydra/launcher=submitit_slurm"]
        if said == "on the command line"
        else preset(tmp_path, "launcher: submitit_slurm")
    )
    with pytest.raises(UsageError, match="there is no srun here"):
        preflight(["--multirun", *TINY, "seed=0,1", *words])


@pytest.mark.parametrize(
    ("words", "launcher", "added"),
    [
        ([], {"_target_": SLURM, "max_num_timeout": 0}, [f"{OFTEN}=1000"]),
        ([], {"_target_": SLURM, "max_num_timeout": 3}, []),
        ([f"{OFTEN}=0"], {"_target_": SLURM, "max_num_timeout": 0}, []),
        ([], {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, []),
    ],
)
def test_a_job_of_slurm_goes_back_into_the_queue_unless_a_number_is_said(words, launcher, added):
    assert requeued_often(words, OmegaConf.create(launcher)) == [*words, *added]
