import math

import pytest
import torch
from pydantic import ValidationError

from modules.exploration import BoltzmannSpec, ExplorationContext

DRAWS = 40_000
GOOD = {"start": 1.0, "end": 1.0, "anneal_frames": 1, "clip": 500.0}


def rule(**changes):
    return BoltzmannSpec(**GOOD | changes).build(ExplorationContext.all_of(1))


def by_hand(values, temperature):
    weights = [math.exp(value / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def chi_square(exploration, values, expected):
    """Of as many draws as there are rows."""
    chosen = exploration.choose(torch.tensor(values).expand(DRAWS, -1))
    assert [chosen.shape, chosen.dtype] == [(DRAWS,), torch.int64]
    counts = chosen.bincount(minlength=len(values)).tolist()
    return sum((n - DRAWS * p) ** 2 / (DRAWS * p) for n, p in zip(counts, expected, strict=True))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_draws_follow_the_softmax(temperature):
    """Chi-square with 3 degrees of freedom: above 21.1 once in 10 000 times."""
    torch.manual_seed(0)
    values = [0.0, -1.0, 1.0, 0.5]
    exploration = rule(start=temperature, end=temperature)
    assert chi_square(exploration, values, by_hand(values, temperature)) < 21.1
    assert chi_square(exploration, values, by_hand(values, 1.5 * temperature)) > 21.1


def test_probability_is_that_of_the_softmax():
    values = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    for action in range(4):
        expected = [by_hand(row, 0.7)[action] for row in values.tolist()]
        found = rule(start=0.7, end=0.7).probability(values, torch.full((50,), action))
        assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_rows_have_values_of_their_own():
    torch.manual_seed(0)
    values = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    exploration = rule(start=0.1, end=0.1)
    assert exploration.choose(values).tolist() == [0, 1]
    assert exploration.probability(values, torch.tensor([0, 0])).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize("values", [[3e38, -3e38, 3e38], [1e30, 0.0, 1e30], [5001.0, 0.0, 5001.0]])
@pytest.mark.parametrize("temperature", [1e-6, 1.0])
def test_extreme_values_are_neither_overflow_nor_forgotten(values, temperature):
    """Two equal ones share all draws."""
    torch.manual_seed(0)
    exploration = rule(start=temperature, end=temperature)
    batch = torch.tensor(values).expand(10_000, -1)
    shares = exploration.choose(batch).bincount(minlength=3) / 10_000
    assert shares.tolist() == pytest.approx([0.5, 0, 0.5], abs=0.0225)  # 4.5 standard errors
    assert shares[1] == 0
    found = [exploration.probability(batch[:1], torch.tensor([action])).item() for action in range(3)]
    assert found == pytest.approx([0.5, 0, 0.5])


def test_near_temperature_0_the_best_is_taken_even_where_keras_rl_clips():
    """100 and 99 over 0.001 both lie beyond 500: clipped there, they would be equal."""
    values = torch.tensor([99.0, 100.0, -100.0]).expand(1_000, -1)
    exploration = rule(start=1e-3, end=1e-3)
    assert exploration.choose(values).unique().tolist() == [1]
    assert exploration.probability(values[:1], torch.tensor([1])).item() == 1


def test_the_clip_is_a_floor_under_every_action():
    floor = math.exp(-2) / (1 + 2 * math.exp(-2))
    found = rule(clip=2.0).probability(torch.tensor([[0.0, -3.0, -1000.0]]).expand(3, -1), torch.arange(3))
    assert found.tolist() == pytest.approx([1 - 2 * floor, floor, floor])


def test_the_temperature_falls_in_a_line():
    exploration = rule(start=2.0, end=0.5, anneal_frames=100)
    gap, first = torch.tensor([[math.log(2.0), 0.0]]), torch.tensor([0])

    def odds():
        found = exploration.probability(gap, first).item()
        return found / (1 - found)

    assert odds() == pytest.approx(2 ** (1 / 2))  # before the first anneal: that of frame 0
    assert [exploration.anneal(f) for f in (0, 50, 100, 10**9)] == pytest.approx([2.0, 1.25, 0.5, 0.5])
    assert odds() == pytest.approx(4)
    assert exploration.metric == "train/temperature"
    assert rule(start=2.0, end=0.5, anneal_frames=0).anneal(0) == 0.5


def test_draws_come_from_pytorchs_generator():
    values, drawn = torch.zeros(100, 5), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(rule().choose(values).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("bad", [{"start": 0.0}, {"end": 0.0}, {"end": -1.0}, {"anneal_frames": -1}, {"clip": 0.0}])
def test_settings_out_of_range_are_refused(bad):
    assert not [*BoltzmannSpec(**GOOD).needs(None)]
    with pytest.raises(ValidationError):
        BoltzmannSpec(**GOOD | bad)


def test_a_temperature_that_rises_is_refused():
    said = [*BoltzmannSpec(**GOOD | {"end": 2.0}).needs(None)]
    assert said == ["exploration.end=2.0 must not exceed exploration.start=1.0"]
