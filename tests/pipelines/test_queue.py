"""Jobs of a sweep in a queue: the time limit ends them, and they continue by themselves."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from modules.spec import UsageError
from pipelines.training.preflight import preflight
from tests.pipelines.launch import ROOT, run

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "threads=1", "total_frames=2_000", "save_every=20")
TINY += ("eval_every=1000", "eval_episodes=1")  # every batch is saved, so that a signal changes no metrics


def rows(run_dir: Path) -> int:
    path = run_dir / "metrics.csv"
    return len(list(csv.DictReader(path.open()))) if path.exists() else 0


def tasks(command: psutil.Process) -> list[psutil.Process]:
    """The processes in which submitit runs jobs."""
    return [child for child in command.children(recursive=True) if "submitit.core._submit" in child.cmdline()]


@pytest.mark.parametrize("signum", [signal.SIGUSR2, signal.SIGTERM])
def test_a_job_whose_time_is_over_saves_waits_again_and_ends_as_if_nothing_had_been(signum, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    words = ["-m", *TINY, "seed=choice(3)", "hydra.sweep.dir=sweep", "hydra/launcher=submitit_local"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    job = tmp_path / "sweep" / "seed=3"
    with subprocess.Popen([sys.executable, "-m", "pipelines.train", *words], cwd=tmp_path, env=env) as command:
        until = time.monotonic() + 300
        while rows(job) < 3:
            assert time.monotonic() < until
            assert command.poll() is None
            time.sleep(0.05)
        (task,) = tasks(psutil.Process(command.pid))
        task.send_signal(signum)
        assert command.wait(300) == 0
    log = (job / "train.log").read_text()
    assert f"stopped by {signal.Signals(signum).name} at frame" in log
    assert json.loads((job / "summary.json").read_text())["status"] == "finished"
    whole = run("pipelines.train", *TINY, "seed=3", "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.code == 0, whole.err
    assert (job / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_machine_without_a_queue_is_told(monkeypatch, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="there is no srun here"):
        preflight(["--multirun", *TINY, "seed=0,1", "hydra/launcher=submitit_slurm"])
