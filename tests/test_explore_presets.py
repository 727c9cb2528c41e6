"""The presets on exploration: what they share, what sets them apart, and that each ablation is one override."""

import re
from dataclasses import fields

import pytest

from modules.spec import UsageError
from pipelines.config.check import check, refuse_misfits
from pipelines.config.schema import RunConfig
from tests.test_configs import plenty_of_disk, read_run  # noqa: F401 - the first is a fixture

BUDGETS = {
    "corridor": 200_000,
    "deep_sea": 20_000,
    "mountain_car": 500_000,
    "random_coin": 60_000,
    "discounting_chain": 200_000,
    "cartpole": 200_000,
}
ABLATIONS = [
    *("intrinsic=rnd_small", "intrinsic=episodic_small", "intrinsic/embedding=random"),
    *("meta=uniform_small", "meta=bandit_small", "meta=one_arm_small", "meta=fixed_per_actor_small"),
    *("network.streams=one", "network.streams=two", "loss=retrace", "loss=q", "loss=r2d2"),
    *("network/memory=none", "network/memory=gru", "network/memory=lstm"),
]
SAME = {  # what a preset has already
    "ngu_corridor": {"meta=uniform_small", "network.streams=one", "loss=retrace", "network/memory=lstm"},
    "agent57_corridor": {"meta=bandit_small", "network.streams=two", "loss=retrace", "network/memory=lstm"},
}


def differing(one: RunConfig, other: RunConfig) -> set[str]:
    """Top-level settings in which two runs differ."""
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


@pytest.mark.parametrize("task", BUDGETS)
@pytest.mark.parametrize("algo", ["ngu", "agent57"])
def test_an_algorithm_and_its_control_differ_in_nothing_but_the_algorithm(task, algo):
    run, control = read_run(f"+exp={algo}_{task}"), read_run(f"+exp=r2d2_{task}")
    assert run.total_frames == control.total_frames == BUDGETS[task]
    assert differing(run, control) == {"name", "network", "replay", "loss", "intrinsic", "meta"}
    assert differing(run.network, control.network) == {"inputs"} | ({"streams"} if algo == "agent57" else set())
    assert differing(run.replay, control.replay) <= {"eta", "importance", "importance_end", "cross_mixture"}
    assert control.loss.gamma == (0.97 if task == "random_coin" else 0.997)
    if task != "discounting_chain":  # there Agent57 is to look farther: below
        assert run.arms.gamma.max().item() == pytest.approx(control.loss.gamma)
    assert (control.intrinsic.rewards, control.meta.single) == (False, True)


@pytest.mark.parametrize("algo", ["r2d2", "ngu", "agent57"])
def test_one_preset_unchanged_on_cartpole_and_on_the_corridor(algo):
    assert differing(read_run(f"+exp={algo}_cartpole"), read_run(f"+exp={algo}_corridor")) == {"name", "env"}


@pytest.mark.parametrize("word", ABLATIONS)
@pytest.mark.parametrize("exp", SAME)
def test_an_ablation_is_one_override(exp, word, tmp_path):
    whole, ablated = read_run(f"+exp={exp}"), read_run(f"+exp={exp}", word)
    check(ablated, tmp_path)
    part = re.split(r"[/.=]", word)[0]
    assert differing(whole, ablated) == (set() if word in SAME[exp] else {part})


@pytest.mark.parametrize("word", ["loss=retrace", "loss=q", "loss=torchrl_dqn"])
def test_r2d2_keeps_its_discount_whatever_its_loss(word):
    run = read_run("+exp=r2d2_corridor", word)
    assert run.loss.gamma == 0.997
    assert differing(run, read_run("+exp=r2d2_corridor")) == {"loss"}


@pytest.mark.parametrize(
    ("exp", "dead"), [("ngu_corridor", ["arm"]), ("agent57_corridor", ["arm", "streams"])], ids=["ngu", "agent57"]
)
def test_without_a_family_what_reads_the_arm_must_go_too(exp, dead, tmp_path):
    words = {"arm": "network.inputs.arm=false", "streams": "network.streams=one"}
    with pytest.raises(UsageError) as refused:
        refuse_misfits(read_run(f"+exp={exp}", "meta=none"))
    assert str(refused.value).count("needs a family of policies") == len(dead)
    check(read_run(f"+exp={exp}", "meta=none", *(words[name] for name in dead)), tmp_path)


@pytest.mark.parametrize("algo", ["ngu", "agent57"])
def test_every_step_of_a_dive_grows_old(algo, tmp_path):
    """Novelty learns from the last steps of a row: in rows of whole dives it would never see the upper half."""
    run = read_run(f"+exp={algo}_deep_sea", "intrinsic=ngu_small")
    assert (run.eval_every, run.env.episode_limit()) == (1_000, 10)
    assert run.replay.length == run.intrinsic.lifelong.last_frames == run.intrinsic.embedding.last_frames  # type: ignore[attr-defined]
    alone = read_run(f"+exp={algo}_deep_sea")
    check(alone, tmp_path)
    assert alone.intrinsic.lifelong == run.intrinsic.lifelong  # type: ignore[attr-defined]


def test_deep_seas_control_may_explore_by_one_epsilon(tmp_path):
    check(read_run("+exp=r2d2_deep_sea", "exploration=eps_greedy"), tmp_path)


@pytest.mark.parametrize("algo", ["ngu", "agent57"])
def test_coins_of_different_betas_are_not_pooled(algo, tmp_path):
    for beta in ("0.3", "3"):
        run = read_run(f"+exp={algo}_random_coin", f"meta.arms.beta={beta}")
        assert (run.name, run.arms.beta.max().item()) == (f"{algo}_random_coin_beta{beta}", pytest.approx(float(beta)))
    check(read_run(f"+exp={algo}_random_coin", "meta=bandit_small"), tmp_path)


def test_only_agent57_looks_as_far_as_the_longest_chain():
    """γ > 0.99904 makes 1.1 after 100 steps worth more than 1 after one: docs/tasks/explore.md."""
    sees = {}
    for algo in ("r2d2", "ngu", "agent57"):
        run = read_run(f"+exp={algo}_discounting_chain")
        assert 20 <= run.replay.length <= 50
        sees[algo] = run.arms.gamma.max().item() > 0.99904
        assert len(run.arms.beta) == (1 if algo == "r2d2" else 8)
    assert sees == {"r2d2": False, "ngu": False, "agent57": True}


def test_the_dqn_control_has_no_memory_and_draws_single_steps_uniformly():
    run, control = read_run("+exp=dqn_mountain_car"), read_run("+exp=r2d2_mountain_car")
    assert {"total_frames", "env", "collector", "optim"}.isdisjoint(differing(run, control))
    assert (run.network.state(), run.network.reads) == ({}, ())
    assert (run.replay.length, run.replay.by_priority) == (1, False)
    assert run.replay.batch_rows == control.replay.batch_rows * control.replay.length
    assert (run.loss.n_step, run.loss.double) == (1, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize("algo", ["ngu", "agent57"])
def test_on_atari_only_budgets_replay_and_torso_are_not_the_algorithms_own(algo):
    run, own = read_run(f"+exp={algo}_atari"), read_run("+exp=r2d2_atari", f"algo={algo}")
    assert differing(run, own) == {"name", "env"}
    assert differing(run.env, own.env) == {"frame_stack"}
    assert (run.meta.arms.n, run.intrinsic.scale) == (32, 1)  # type: ignore[attr-defined]
    assert run.replay.length == {"ngu": 80, "agent57": 160}[algo]
