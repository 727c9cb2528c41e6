"""What ends a run early: an evaluation that is good enough, or a number of episodes."""

from types import SimpleNamespace

import pytest

from modules.plots.runs import read_table
from pipelines.training.counters import reached_goal
from tests.pipelines.launch import run

RECENT = 50  # episodes of the running mean


@pytest.mark.parametrize(
    ("score", "length", "goal"),
    [
        (0.6999999955, 9.0, "stop_at_score=0.7"),  # 1.0 - 0.1 - 0.1 - 0.1 with a 0.1 in float32
        (0.6999, 9.0, ""),
        (0.0, 4.0, "stop_at_length=4.0"),
        (0.0, 4.01, ""),
    ],
)
def test_a_goal_is_reached_up_to_rounding(score, length, goal):
    run = SimpleNamespace(stop_at_score=0.7, stop_at_length=4.0, stop_at_episodes=10)
    assert reached_goal(run, {"eval/return_mean": score, "eval/length_mean": length}) == goal
    assert not reached_goal(
        SimpleNamespace(stop_at_score=None, stop_at_length=None, stop_at_episodes=None), {"eval/return_mean": 9.0}
    )
    assert not reached_goal(run, {})
    assert [reached_goal(run, {}, episodes) for episodes in (9, 10, 11)] == ["", *["stop_at_episodes=10"] * 2]


def test_a_run_ends_with_its_episodes_and_shows_the_last_fifty(tmp_path):
    words = (
        "+exp=boltzmann_shower",
        "+debug=smoke",
        "env.horizon=5",
        "total_frames=2_000",
        "video=false",
        "eval_every=0",
    )
    words = (*words, "collector.num_envs=4", "collector.steps=5", "log_every=20", "stop_at_score=null")
    assert run("pipelines.train", *words, "hydra.run.dir=all", "total_frames=320", cwd=tmp_path).code == 0
    assert run("pipelines.train", *words, "hydra.run.dir=run", "stop_at_episodes=62", cwd=tmp_path).code == 0
    both = [read_table(tmp_path / name / "metrics.csv") for name in ("all", "run")]
    assert [table["train/episodes"][-1] for table in both] == [64, 64]  # 4 end with each batch
    assert [table["frames"][-1] for table in both] == [320, 320]
    assert both[1]["eval/episodes"][-1] > 0
    each = both[0]["train/return_mean"]  # of 4 episodes; 50 are the last 12 and a half of these
    for number, mean in enumerate(both[0]["train/return_mean_50"]):
        so_far = each[: number + 1]
        if 4 * len(so_far) <= RECENT:
            assert mean == pytest.approx(so_far.mean())
        else:
            low, high = sorted((so_far[-13:-12].item() - 8, so_far[-13:-12].item() + 8))
            rest = (RECENT * mean - 4 * so_far[-12:].sum()) / 2
            assert low <= rest <= high
    again = run("pipelines.resume", "run=run", cwd=tmp_path)
    assert [again.code, "stop_at_episodes=62" in again.err] == [2, True]
    assert run("pipelines.resume", "run=run", "stop_at_episodes=66", cwd=tmp_path).code == 0
    assert read_table(tmp_path / "run" / "metrics.csv")["train/episodes"][-1] == 68
