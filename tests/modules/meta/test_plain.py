import math

import pytest
import torch
from torch import tensor

from modules.meta import ArmsSpec, NoneSpec, UniformSpec

ARMS = ArmsSpec(n=4, beta=0.3, ladder="ngu", gamma_max=0.997, gamma_mid=0.997, gamma_min=0.99)
ALL = torch.arange(3)


def test_one_arm_without_intrinsic_reward_has_the_discount_of_the_loss():
    table = NoneSpec().table(0.97)
    assert table.beta.tolist() == [0.0]
    assert table.gamma.tolist() == pytest.approx([0.97])
    fixed = NoneSpec().build(3, seed=0)
    arms = fixed.choose(ALL)
    assert arms.dtype == torch.int64
    assert arms.tolist() == [0, 0, 0]
    fixed.update(ALL, arms, torch.ones(3))
    fixed.load_state_dict(fixed.state_dict())
    assert fixed.greedy() == 0


def test_every_arm_is_as_likely_as_any_other():
    uniform = UniformSpec(arms=ARMS).build(4000, seed=0)
    chosen = uniform.choose(torch.arange(4000))
    shares = chosen.bincount(minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=4.5 * math.sqrt(0.25 * 0.75 / 4000))


def test_uniform_arms_learn_nothing_and_resume():
    uniform, untold = (UniformSpec(arms=ARMS).build(3, seed=0) for _ in range(2))
    uniform.update(tensor([2, 0]), tensor([3, 1]), tensor([9.0, -9.0]))
    assert uniform.greedy() == 0
    expected = [untold.choose(ALL).tolist() for _ in range(20)]
    again = UniformSpec(arms=ARMS).build(3, seed=9)
    again.load_state_dict(uniform.state_dict())
    for each in (uniform, again):
        assert [each.choose(ALL).tolist() for _ in range(20)] == expected


def test_the_table_is_that_of_the_arms():
    assert UniformSpec(arms=ARMS).table(0.5).gamma.tolist() == ARMS.build().gamma.tolist()
