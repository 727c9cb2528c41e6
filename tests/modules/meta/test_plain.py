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
    assert fixed.counts().tolist() == [[0], [0], [0]]
    assert fixed.means().shape == (3, 1)


def test_every_arm_is_as_likely_as_any_other():
    uniform = UniformSpec(arms=ARMS).build(4000, seed=0)
    chosen = uniform.choose(torch.arange(4000))
    shares = chosen.bincount(minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=4.5 * math.sqrt(0.25 * 0.75 / 4000))


def test_uniform_arms_count_every_episode_and_resume():
    uniform = UniformSpec(arms=ARMS).build(3, seed=0)
    assert uniform.greedy() == 0
    for value in (1.0, 4.0):
        uniform.update(tensor([2, 0]), tensor([3, 1]), tensor([value, -value]))
    assert uniform.counts().tolist() == [[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]
    nan = math.nan
    means = tensor([[nan, -2.5, nan, nan], [nan] * 4, [nan, nan, nan, 2.5]], dtype=torch.float64)
    torch.testing.assert_close(uniform.means(), means, equal_nan=True)
    assert uniform.greedy() == 0  # it learns nothing
    state = uniform.state_dict()
    expected = [uniform.choose(ALL).tolist() for _ in range(20)]
    again = UniformSpec(arms=ARMS).build(3, seed=9)
    again.load_state_dict(state)
    assert [again.choose(ALL).tolist() for _ in range(20)] == expected
    assert again.counts().tolist() == uniform.counts().tolist()
    with pytest.raises(ValueError, match="do not fit"):
        UniformSpec(arms=ARMS).build(1, seed=9).load_state_dict(state)


def test_the_table_is_that_of_the_arms():
    assert UniformSpec(arms=ARMS).table(0.5).gamma.tolist() == ARMS.build().gamma.tolist()
