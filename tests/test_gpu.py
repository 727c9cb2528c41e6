"""The learner on a CUDA device: `make test-gpu`."""

import subprocess
import sys

import pytest
import torch

from modules import checkpoint


@pytest.mark.gpu
@pytest.mark.parametrize("memory", ["lstm", "gru", "none"])
def test_a_run_on_cuda_learns_saves_and_evaluates_on_the_cpu(tmp_path, memory):
    assert torch.cuda.is_available()
    run = tmp_path / "run"
    words = ["+exp=drqn_cartpole", "+debug=smoke", "device=cuda", f"network/memory={memory}", f"hydra.run.dir={run}"]
    subprocess.run([sys.executable, "-m", "pipelines.train", *words], check=True)
    state = checkpoint.load(checkpoint.latest(run / "checkpoints"))
    assert state["learner"]["updates"] > 0
    assert all(value.isfinite().all() for value in state["network"].values())
    subprocess.run([sys.executable, "-m", "pipelines.evaluate", f"run={run}", "episodes=2"], check=True)
