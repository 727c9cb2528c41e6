"""When an evaluation is good enough to end a run."""

from types import SimpleNamespace

import pytest

from pipelines.loop import reached


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
    run = SimpleNamespace(stop_at_score=0.7, stop_at_length=4.0)
    assert reached(run, {"eval/return_mean": score, "eval/length_mean": length}) == goal
    assert not reached(SimpleNamespace(stop_at_score=None, stop_at_length=None), {"eval/return_mean": 9.0})
    assert not reached(run, {})
