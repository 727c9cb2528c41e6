"""The page of metrics is generated from what the parts declare, and runs have columns for what theirs declare."""

import pytest

from modules.losses.q import QLossSpec
from modules.metrics import Metric
from modules.spec import UsageError, collect_metrics
from pipelines.config.composing import compose_settings
from pipelines.config.metrics_page import known, markdown, specs
from pipelines.config.schema import read
from tests.pipelines.launch import ROOT


def test_the_page_is_current():
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert page == markdown(), "run python -m pipelines.config.metrics_page > docs/metrics.md"
    assert all(f"| `{name}` |" in page for name in known())


def test_each_name_means_one_thing():
    metrics = [metric for spec in set(specs()) for metric in spec.metrics]
    assert all(metric == known()[metric.name] for metric in metrics)
    assert all(metric.timing == metric.name.startswith("perf/") for metric in metrics)


@pytest.mark.parametrize(
    ("exp", "some", "none"),
    [
        ("drqn_cartpole_masked", ["train/epsilon", "loss/q", "replay/delta_q_first"], ["meta/arm_mean", "loss/policy"]),
        ("dqn_cartpole", ["train/epsilon", "loss/q"], ["replay/delta_q_first", "intrinsic/reward_mean"]),
        ("boltzmann_shower", ["train/temperature"], ["train/epsilon"]),
        ("reinforce_cartpole", ["loss/policy", "loss/entropy"], ["loss/q", "loss/td_error"]),
        ("agent57_corridor", ["meta/greedy_arm", "intrinsic/alpha_mean", "train/intrinsic_return_mean"], []),
    ],
)
def test_a_run_has_columns_for_its_own_parts_only(exp, some, none):
    columns = read(compose_settings((f"+exp={exp}",))[0]).declared
    assert set(some) <= columns.keys()
    assert not set(none) & columns.keys()
    groups = [name.partition("/")[0] for name in columns]
    assert groups == sorted(groups, key=["train", "loss", "intrinsic", "meta", "replay", "eval", "perf"].index)


def test_one_name_in_different_words_is_refused():
    class Mine(QLossSpec):
        metrics = (*QLossSpec.metrics, Metric("loss/td_error", "apples", "something else"))

    spec = Mine(gamma=0.9, n_step=1, double=True, huber_delta=1.0, rescale_eps=0.0)
    with pytest.raises(UsageError, match="metric loss/td_error: two parts of this run declare it in different words"):
        collect_metrics(spec)
