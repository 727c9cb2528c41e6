"""A run with novelty, arms and two streams, from training to evaluation."""

import csv
import json
import math

import pytest

from tests.pipelines.launch import run

TINY = ("+exp=agent57_corridor", "+debug=smoke", "env.length=9", "env.horizon=12", "hydra.run.dir=run", "video=true")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("family")
    ended = run("pipelines.train", *TINY, "total_frames=2_000", "save_every=500", "eval_every=1000", cwd=place)
    assert ended.code == 0, ended.err
    return place / "run"


def columns(run_dir):
    rows = [*csv.DictReader((run_dir / "metrics.csv").open())]
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def test_novelty_and_arms_are_logged(trained):
    found = columns(trained)
    measured = {name: values for name, values in found.items() if name.startswith(("intrinsic/", "meta/"))}
    measured["return"] = found["train/intrinsic_return_mean"]
    assert len(measured) == 9
    assert all(values and all(map(math.isfinite, values)) for values in measured.values())
    assert all(1 <= alpha <= 5 for alpha in measured["intrinsic/alpha_mean"])
    assert all(0 <= share <= 1 for share in measured["intrinsic/inverse_accuracy"])
    assert all(0 <= arm <= 7 for name in ("meta/arm_mean", "meta/greedy_arm") for arm in measured[name])
    # An episode takes 9 to 12 steps, and the sum of its rewards is about that of as many mean steps.
    per_step = sum(measured["return"]) / len(measured["return"]) / 12
    assert per_step == pytest.approx(sum(found["intrinsic/reward_mean"]) / len(found["intrinsic/reward_mean"]), rel=0.4)


def test_every_arm_is_tried_from_the_first_on(trained):
    """An environment plays arm k in its episode k; the collector's reset as it is made must not count as one."""
    means = columns(trained)["meta/arm_mean"]
    assert means[0] < 1
    assert max(means) > 3


def test_an_evaluation_leaves_no_trace_in_the_next_one(trained):
    found = []
    for words in (("episodes=3",), ("episodes=3", "video=true"), ("episodes=3",)):
        ended = run("pipelines.evaluate", "run=run", *words, cwd=trained.parent)
        assert ended.code == 0, ended.err
        found.append(json.loads((trained / "evaluation.json").read_text()))
    assert found[0] == found[1] == found[2]
    assert len(list((trained / "videos").iterdir())) == 2
