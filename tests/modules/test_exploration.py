import math

import pytest
import torch
from pydantic import ValidationError

from modules.exploration import EpsGreedySpec, EpsLadderSpec, ExplorationContext


def ladder(num_envs, *, base=0.4, alpha=7.0, anneal_frames=0):
    return EpsLadderSpec(base=base, alpha=alpha, anneal_frames=anneal_frames).build(ExplorationContext.all_of(num_envs))


def shares(exploration, num_envs, times=8_000):
    """How often each environment takes one of 4 actions that is not the best, which is action 2."""
    values = torch.tensor([0.0, -1.0, 1.0, 0.5]).expand(num_envs, 4)
    chosen = torch.stack([exploration.choose(values) for _ in range(times)])
    assert chosen.shape == (times, num_envs)
    assert chosen.dtype == torch.int64
    return (chosen != 2).float().mean(0).tolist()


def near(epsilons, times=8_000):
    """A random action is one of the three others in 3 cases of 4; within 4.5 standard errors."""
    wrong = [0.75 * epsilon for epsilon in epsilons]
    return [pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / times)) for p in wrong]


def test_each_environment_has_the_epsilon_of_its_rung():
    torch.manual_seed(0)
    rungs = [0.5, 0.25, 0.125]  # exponents 1, 2, 3
    exploration = ladder(3, base=0.5, alpha=2.0)
    assert shares(exploration, 3) == near(rungs)
    assert exploration.anneal(12_345) == pytest.approx(sum(rungs) / 3)
    assert shares(exploration, 3) == near(rungs)


def test_the_ladder_of_ape_x():
    """256 actors, from 0.4 to 0.000655."""
    rungs = [0.4 ** (1 + 7 * i / 255) for i in range(256)]
    assert rungs[-1] == pytest.approx(0.000655, abs=5e-7)
    assert ladder(256).anneal(0) == pytest.approx(sum(rungs) / 256)
    assert ladder(2).anneal(0) == pytest.approx((rungs[0] + rungs[-1]) / 2)


def test_one_environment_explores_with_the_base():
    torch.manual_seed(0)
    exploration = ladder(1)
    assert exploration.anneal(0) == pytest.approx(0.4)
    assert shares(exploration, 1) == near([0.4])


def test_the_ladder_is_let_down_from_1():
    torch.manual_seed(0)
    exploration = ladder(2, base=0.5, alpha=1.0, anneal_frames=100)  # rungs 0.5 and 0.25
    assert shares(exploration, 2) == near([1.0, 1.0])  # before the first anneal: that of frame 0
    assert [exploration.anneal(f) for f in (0, 50, 100, 10**9)] == pytest.approx([1.0, 0.6875, 0.375, 0.375])
    exploration.anneal(50)
    assert shares(exploration, 2) == near([0.75, 0.625])


def test_values_of_other_environments_are_refused():
    """A ladder spread over one row of values would answer with an action for every rung."""
    with pytest.raises(ValueError, match="values of 1 environments for 3 ε"):
        ladder(3).choose(torch.zeros(1, 4))


def test_a_flat_ladder_acts_like_eps_greedy():
    """From the same generator, number for number."""
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    chosen = []
    for exploration in (
        ladder(5, base=0.3, alpha=0.0),
        EpsGreedySpec(start=0.3, end=0.3, anneal_frames=1).build(ExplorationContext.all_of(5)),
    ):
        torch.manual_seed(1)
        chosen.append([exploration.choose(values).tolist() for _ in range(200)])
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("bad", [{"base": 1.5}, {"base": -0.1}, {"alpha": -1.0}, {"anneal_frames": -1}])
def test_settings_out_of_range_are_refused(bad):
    good = {"base": 0.4, "alpha": 7.0, "anneal_frames": 0}
    assert EpsLadderSpec(**good).build(ExplorationContext.all_of(2)).anneal(0) > 0
    with pytest.raises(ValidationError):
        EpsLadderSpec(**{**good, **bad})


def test_environments_leave_the_greedy_path_each_on_its_own():
    torch.manual_seed(0)
    values = torch.tensor([0.0, -1.0, 1.0, 0.5]).expand(40_000, 4)
    wrong = (ladder(40_000, base=0.4, alpha=0.0).choose(values) != 2).float()
    assert (wrong[::2] * wrong[1::2]).mean().item() == pytest.approx(0.3**2, abs=0.01)


@pytest.mark.parametrize(
    ("num_envs", "rungs"), [(6, [0, 1, 2, 3, 4, 5]), (3, [1, 3, 5]), (1, [3]), (12, [i // 2 for i in range(12)])]
)
def test_environments_that_stand_for_others_have_rungs_of_theirs_from_all_over_the_ladder(num_envs, rungs):
    spec = EpsLadderSpec(base=0.5, alpha=2.0, anneal_frames=100)
    exploration = spec.build(ExplorationContext.spread(num_envs, 6))
    exploration.anneal(100)
    found = 1 - exploration.probability(torch.tensor([[0.0, 1.0]] * num_envs), torch.ones(num_envs, dtype=torch.long))
    assert found.tolist() == pytest.approx([0.5 ** (1 + 2 * rung / 5) / 2 for rung in rungs])


def test_a_rule_that_is_the_same_everywhere_is_so_in_environments_that_stand_for_others():
    spec = EpsGreedySpec(start=0.8, end=0.4, anneal_frames=10)
    assert spec.build(ExplorationContext.spread(2, 16)).anneal(5) == pytest.approx(0.6)
