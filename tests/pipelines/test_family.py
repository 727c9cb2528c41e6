"""A run with novelty, arms and two streams, from training to evaluation."""

import copy
import csv
import math

import pytest
import torch

from modules import keys
from modules.spec import UsageError
from pipelines import evaluate
from pipelines.agent.held_out import DEFAULTS, Evaluation
from tests.pipelines.launch import run
from tests.pipelines.test_resume import flat

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


def test_an_evaluation_leaves_no_trace(trained):
    """Novelty is an input of the network, and its statistics continue with whatever is seen."""
    settings = Evaluation(**(DEFAULTS | {"run": trained, "episodes": 3, "video": True}))
    agent = evaluate.load_evaluated(settings)
    before = copy.deepcopy(flat([agent.intrinsic_model.state_dict(), agent.intrinsic_reward.state_dict()]))
    results = []
    evaluate.evaluate(settings, agent, results.append)
    after = flat([agent.intrinsic_model.state_dict(), agent.intrinsic_reward.state_dict()])
    assert any(name.endswith("errors/count/") and value > 100 for name, value in before.items())
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    evaluate.evaluate(settings, agent, results.append)
    assert results[0] == results[1]
    assert len(list((trained / "videos").glob("*.mp4"))) == 2


@pytest.mark.parametrize("arm", [0, 7])
def test_any_arm_can_be_evaluated(arm, trained):
    agent = evaluate.load_evaluated(Evaluation(**(DEFAULTS | {"run": trained, "arm": arm})))
    env = agent.agent_env(3).build(3)
    assert env.reset()[keys.ARM].tolist() == [arm] * 3
    env.close()
    said = evaluate.run_evaluation(Evaluation(**(DEFAULTS | {"run": trained, "episodes": 1})), agent, ())
    assert said["arm"] == arm
    assert f"\narm          {arm}\n" in evaluate.table(said)
    assert evaluate.line(trained, said).endswith(f", arm {arm}\n")


def test_an_arm_that_does_not_exist_is_refused(trained):
    with pytest.raises(UsageError, match=r"arm=8: .*run has 8 arms, of which the first is 0"):
        evaluate.load_evaluated(Evaluation(**(DEFAULTS | {"run": trained, "arm": 8})))
