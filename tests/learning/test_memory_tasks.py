"""Grid and exam tasks for memory: solved with one, not without, within the same budget. `make test-slow`."""

import pytest

from tests.learning.test_cartpole import SOLVED, trained

FF = ("network/memory=none", "network/inputs=none")  # the previous action is a memory too
LEN = ("+exp=r2d2_memory_len", "env.length=30", "total_frames=100_000", "stop_at_score=0.999", "seed=0")
MAZE = ("+exp=r2d2_passive_tmaze", "seed=0")


@pytest.mark.slow
@pytest.mark.parametrize("words", [LEN, MAZE])
def test_r2d2_remembers_a_cue(tmp_path, words):
    assert trained(tmp_path / "run", *words)["mean"] >= 0.95


@pytest.mark.slow
def test_without_memory_a_cue_is_forgotten(tmp_path):
    result = trained(tmp_path / "run", *LEN, *FF)
    assert abs(result["mean"]) < 0.4  # chance: 0; 100 answers have a standard error of 0.1


@pytest.mark.slow
def test_r2d2_balances_the_pole_without_velocities(tmp_path):
    assert trained(tmp_path / "run", "+exp=r2d2_cartpole_masked", "seed=0")["mean"] >= SOLVED


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "low", "high"), [("gru", 1.19, 1.21), ("none", -5, 0.91)])
def test_both_arms_of_the_maze_need_memory(tmp_path, memory, low, high):
    words = ("+exp=tour", "env.task=tmaze_both", f"network/memory={memory}", "stop_at_score=1.2", "seed=0")
    assert low <= trained(tmp_path / "run", *words)["mean"] <= high
