"""Does it learn, and is memory why? Minutes each: `make test-slow`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOLVED = 475  # mean greedy return over 100 fresh episodes; the maximum is 500
FORGETFUL = 0.6 * SOLVED


def trained(run_dir: Path, *overrides: str) -> dict:
    """Train and evaluate with the entry points that users call; return evaluation.json."""
    for words in (
        ["pipelines.train", f"hydra.run.dir={run_dir}", *overrides],
        ["pipelines.evaluate", f"run={run_dir}", "episodes=100"],
    ):
        subprocess.run([sys.executable, "-m", *words], check=True)
    return json.loads((run_dir / "evaluation.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_memory_balances_the_pole_without_velocities(tmp_path, memory):
    result = trained(tmp_path / "run", "+exp=drqn_cartpole_masked", f"network/memory={memory}", "seed=0")
    assert result["mean"] >= SOLVED


@pytest.mark.slow
def test_without_memory_the_same_budget_fails(tmp_path):
    result = trained(tmp_path / "run", "+exp=drqn_cartpole_masked", "network/memory=none", "seed=0")
    assert result["mean"] < FORGETFUL


@pytest.mark.slow
def test_memory_balances_the_pole_from_single_frames(tmp_path):
    result = trained(tmp_path / "run", "+exp=drqn_cartpole", "seed=0")
    assert result["mean"] >= SOLVED


@pytest.mark.slow
def test_a_policy_gradient_balances_the_pole(tmp_path):
    result = trained(tmp_path / "run", "+exp=reinforce_cartpole", "seed=0")
    assert result["mean"] >= SOLVED
