import math
from types import SimpleNamespace

import pytest
import torch
from torch import tensor

from modules.meta_controller import ArmsSpec, FixedPerActorSpec, MetaContext, NoneSpec, UniformSpec
from modules.meta_controller.uniform import ArmPerActor

ARMS = ArmsSpec(n=4, beta=0.3, ladder="ngu", gamma_max=0.997, gamma_mid=0.997, gamma_min=0.99)
ALL = torch.arange(3)


def test_one_arm_without_intrinsic_reward_has_the_discount_of_the_loss():
    table = NoneSpec().table(0.97)
    assert table.beta.tolist() == [0.0]
    assert table.gamma.tolist() == pytest.approx([0.97])
    fixed = NoneSpec().build(MetaContext.all_of(3, seed=0))
    arms = fixed.choose(ALL)
    assert arms.dtype == torch.int64
    assert arms.tolist() == [0, 0, 0]
    fixed.update(ALL, arms, torch.ones(3))
    fixed.load_state_dict(fixed.state_dict())
    assert fixed.greedy() == 0


def test_every_arm_is_as_likely_as_any_other():
    uniform = UniformSpec(arms=ARMS).build(MetaContext.all_of(4000, seed=0))
    chosen = uniform.choose(torch.arange(4000))
    shares = chosen.bincount(minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=4.5 * math.sqrt(0.25 * 0.75 / 4000))


def test_uniform_arms_learn_nothing_and_resume():
    uniform, untold = (UniformSpec(arms=ARMS).build(MetaContext.all_of(3, seed=0)) for _ in range(2))
    uniform.update(tensor([2, 0]), tensor([3, 1]), tensor([9.0, -9.0]))
    assert uniform.greedy() == 0
    expected = [untold.choose(ALL).tolist() for _ in range(20)]
    again = UniformSpec(arms=ARMS).build(MetaContext.all_of(3, seed=9))
    again.load_state_dict(uniform.state_dict())
    for each in (uniform, again):
        assert [each.choose(ALL).tolist() for _ in range(20)] == expected


def test_the_table_is_that_of_the_arms():
    assert UniformSpec(arms=ARMS).table(0.5).gamma.tolist() == ARMS.build().gamma.tolist()


def arms_for_life(environments, n):
    arms = ArmsSpec(n=n, beta=0.3, ladder="ngu", gamma_max=0.997, gamma_mid=0.997, gamma_min=0.99)
    return (
        FixedPerActorSpec(arms=arms)
        .build(MetaContext.all_of(environments, seed=0))
        .choose(torch.arange(environments))
        .tolist()
    )


def test_an_actor_keeps_its_arm():
    """NGU's rule, j mod N, where there is an actor for each arm; else evenly from the first arm to the last."""
    assert arms_for_life(7, 3) == [0, 1, 2, 0, 1, 2, 0]
    assert arms_for_life(4, 4) == [0, 1, 2, 3]
    assert arms_for_life(4, 10) == [0, 3, 6, 9]
    assert arms_for_life(5, 8) == [0, 2, 4, 5, 7]  # 1.75, 3.5 and 5.25 between them, halves to the even one
    assert arms_for_life(2, 32) == [0, 31]
    assert arms_for_life(3, 1) == [0, 0, 0]
    for total, n in ((6, 4), (6, 32)):  # of which each process has two
        parts = [MetaContext(numbers=range(first, first + 2), total=total, seed=0) for first in (0, 2, 4)]
        apart = [ArmPerActor(n=n, numbers=c.numbers, total=c.total).choose(torch.arange(2)).tolist() for c in parts]
        assert [arm for arms in apart for arm in arms] == arms_for_life(total, n)


def test_an_arm_for_life_outlives_returns_restarts_and_a_resume():
    meta = FixedPerActorSpec(arms=ARMS).build(MetaContext.all_of(6, seed=0))
    which = tensor([5, 0, 2])
    arms = meta.choose(which)
    assert arms.dtype == torch.int64
    assert arms.tolist() == [1, 0, 2]
    meta.update(which, arms, tensor([9.0, -9.0, 0.0]))
    assert meta.choose(which).tolist() == [1, 0, 2]
    assert meta.greedy() == 0
    again = FixedPerActorSpec(arms=ARMS).build(MetaContext.all_of(6, seed=9))
    again.load_state_dict(meta.state_dict())
    assert again.choose(which).tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="named twice"):
        meta.choose(tensor([1, 1]))


def test_evaluations_play_the_arm_that_exploits_and_each_arm_has_its_discount():
    spec = FixedPerActorSpec(arms=ARMS)
    evaluator = spec.build_evaluation_bandit(MetaContext.all_of(3, seed=0))
    assert evaluator.choose(ALL).tolist() == [0, 0, 0]
    assert (evaluator.tries, evaluator.greedy()) == (0, 0)
    assert torch.equal(spec.table(0.5).gamma, ARMS.build().gamma)
    assert torch.equal(spec.table(0.5).beta, ARMS.build().beta)


@pytest.mark.parametrize(("environments", "n", "fits"), [(1, 4, False), (1, 1, True), (2, 4, True)])
def test_one_environment_would_only_exploit(environments, n, fits):
    arms = ArmsSpec(n=n, beta=0.3, ladder="ngu", gamma_max=0.997, gamma_mid=0.997, gamma_min=0.99)
    run = SimpleNamespace(collector=SimpleNamespace(total_envs=environments))
    said = [*FixedPerActorSpec(arms=arms).needs(run)]
    assert len(said) == (not fits)
    assert fits or "collector.num_envs=1 has one environment" in said[0]
