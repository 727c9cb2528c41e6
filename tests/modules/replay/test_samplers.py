import math
from bisect import bisect_left
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from modules.replay.samplers import PRIORITY_FLOOR, Prioritised, Sampler


def prioritised(priorities=(), *, capacity=4, exponent=1.0, seed=0):
    """A sampler whose rows 0, 1, … have these priorities."""
    sampler = Prioritised(seed=seed, capacity=capacity, exponent=exponent)
    sampler.extend(len(priorities))
    sampler.update(torch.arange(len(priorities)), tensor(priorities))
    return sampler


def shares(sampler, draws=100_000):
    """How often each row of the window is drawn, oldest first."""
    rows, _ = sampler.draw(draws, 0.0)
    window = range(sampler.oldest, sampler.oldest + len(sampler))
    assert set(rows.tolist()) <= set(window)
    return [(rows == row).double().mean().item() for row in window]


def near(probabilities, draws=100_000):
    """Within 4.5 standard errors of each."""
    return [pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / draws)) for p in probabilities]


def weight_of(sampler, importance):
    """Importance weight of each row that a large batch holds."""
    rows, weights = sampler.draw(1000, importance)
    assert rows.dtype == torch.int64
    assert weights.dtype == torch.float32
    return dict(zip(rows.tolist(), weights.tolist(), strict=True))


@pytest.mark.parametrize(
    ("exponent", "masses"),
    [(0.0, [1, 1, 1]), (0.5, [1, 2, 3]), (1.0, [1, 4, 9])],
)
def test_rows_are_drawn_in_proportion_to_their_mass(exponent, masses):
    sampler = prioritised([1.0, 4.0, 9.0], exponent=exponent)
    assert shares(sampler) == near([m / sum(masses) for m in masses])


def test_importance_weights_by_hand():
    """P = 1/10, 4/10, 5/10 of N = 3 rows: N·P = 0.3, 1.2, 1.5; the rarest row weighs 1."""
    sampler = prioritised([1.0, 4.0, 5.0])
    assert weight_of(sampler, 1.0) == pytest.approx({0: 1.0, 1: 0.3 / 1.2, 2: 0.3 / 1.5})
    assert weight_of(sampler, 0.5) == pytest.approx({0: 1.0, 1: math.sqrt(0.3 / 1.2), 2: math.sqrt(0.3 / 1.5)})
    assert weight_of(sampler, 0.0) == {0: 1.0, 1: 1.0, 2: 1.0}


def test_the_largest_weight_is_that_of_the_batch_not_of_the_window():
    sampler = prioritised([1e-6, 1.0, 1.0])
    rows, weights = sampler.draw(8, 1.0)
    assert 0 not in rows.tolist()
    assert weights.tolist() == [1.0] * 8


def test_weights_undo_the_bias_of_the_draws():
    """Each row's weights add up to the same, up to chance."""
    rows, weights = prioritised([1.0, 4.0, 5.0]).draw(100_000, 1.0)
    sums = torch.zeros(3).index_add_(0, rows, weights)
    torch.testing.assert_close(sums / sums.sum(), torch.full((3,), 1 / 3), atol=0.005, rtol=0)


def test_new_rows_get_the_highest_priority_seen_so_far():
    sampler = prioritised([0.5, 0.25], capacity=8)
    sampler.extend(1)  # nothing above the 1 of the beginning was seen
    assert shares(sampler) == near([0.5 / 1.75, 0.25 / 1.75, 1 / 1.75])
    sampler.update(tensor([0]), tensor([6.0]))
    sampler.update(tensor([0]), tensor([2.0]))
    sampler.extend(1)
    assert shares(sampler) == near([2 / 9.25, 0.25 / 9.25, 1 / 9.25, 6 / 9.25])


def test_the_window_moves_on_after_the_ring_is_full():
    sampler = prioritised([1.0, 2.0, 3.0, 4.0])
    sampler.extend(2)
    assert (len(sampler), sampler.oldest) == (4, 2)
    assert shares(sampler) == near([3 / 15, 4 / 15, 4 / 15, 4 / 15])
    sampler.extend(11)  # more than the window holds
    assert (len(sampler), sampler.oldest) == (4, 13)
    assert shares(sampler) == near([0.25] * 4)
    sampler.update(tensor([14]), tensor([12.0]))
    assert shares(sampler) == near([4 / 24, 12 / 24, 4 / 24, 4 / 24])


def test_rows_that_left_the_window_touch_nothing():
    """Rows 0 and 1 have lost their slots to rows 4 and 5 before their priorities come back."""
    sampler = prioritised([1.0, 1.0, 1.0, 1.0])
    sampler.extend(2)
    sampler.update(tensor([0, 1, 2]), tensor([100.0, 200.0, 3.0]))
    assert shares(sampler) == near([3 / 6, 1 / 6, 1 / 6, 1 / 6])
    sampler.extend(1)  # at 3, not at the 200 of a row that is gone
    assert shares(sampler) == near([1 / 6, 1 / 6, 1 / 6, 3 / 6])


def test_of_a_row_that_is_drawn_twice_the_last_priority_counts():
    sampler = prioritised([1.0, 1.0])
    sampler.update(tensor([1, 0, 1]), tensor([9.0, 1.0, 3.0]))
    assert shares(sampler) == near([1 / 4, 3 / 4])


def test_no_row_starves():
    sampler = prioritised([0.0, 0.0, 2 * PRIORITY_FLOOR])
    assert shares(sampler) == near([0.25, 0.25, 0.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
def test_bad_priorities_are_refused_and_change_nothing(bad):
    sampler = prioritised([1.0, 2.0])
    with pytest.raises(ValueError, match="priorities must be finite and >= 0, not"):
        sampler.update(tensor([0, 1]), tensor([5.0, bad]))
    assert sampler.state_dict()["masses"].tolist() == [1.0, 2.0]
    assert sampler.state_dict()["highest"] == 2.0


def test_other_mistakes_are_refused():
    """The tree itself would read and write beyond its end without a word."""
    sampler = prioritised([1.0, 2.0])
    with pytest.raises(ValueError, match="row 2 was never written"):
        sampler.update(tensor([0, 2]), tensor([1.0, 1.0]))
    with pytest.raises(ValueError, match=r"\[1\] priorities for \[2\] rows"):
        sampler.update(tensor([0, 1]), tensor([1.0]))
    with pytest.raises(ValueError, match="no row to draw"):
        prioritised().draw(1, 0.0)
    longer = prioritised([1.0] * 6, capacity=6).state_dict()
    with pytest.raises(ValueError, match="priorities of 6 rows do not fit a window of 4"):
        sampler.load_state_dict(longer)
    assert shares(sampler) == near([1 / 3, 2 / 3])


def test_uniform_draws_what_the_sequence_replay_always_drew():
    """Published results depend on these very draws."""
    sampler, generator = Sampler(seed=7, capacity=5), torch.Generator().manual_seed(7)
    for count, oldest, written in [(3, 0, 3), (2, 0, 5), (9, 9, 14), (0, 9, 14)]:
        sampler.extend(count)
        rows, weights = sampler.draw(6, 0.5)
        assert torch.equal(rows, torch.randint(oldest, written, (6,), generator=generator))
        assert torch.equal(weights, torch.ones(6))
        sampler.update(rows, torch.full((6,), math.nan))
    assert (len(sampler), sampler.oldest) == (5, 9)


def live(sampler, rounds):
    """Write, draw and write back for some rounds; returns all that was drawn."""
    drawn = []
    for i in range(rounds):
        sampler.extend(i % 4)
        rows, weights = sampler.draw(5, 0.6)
        drawn += [rows, weights]
        sampler.update(rows, 0.01 + (rows * 37 + i) % 101 / 50)
    return torch.cat(drawn).tolist()


@pytest.mark.parametrize("make", [Sampler, lambda **kw: Prioritised(exponent=0.9, **kw)])
def test_draws_go_on_after_a_resume_bit_for_bit(make, tmp_path):
    """Also by a sampler that has continued since, as when a run is resumed from an older checkpoint."""
    sampler, other = make(seed=1, capacity=7), make(seed=2, capacity=7)
    sampler.extend(1)
    live(sampler, 20)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = live(sampler, 20)
    for resumed in (sampler, other):
        resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
        assert live(resumed, 20) == expected


def test_a_state_stays_as_it_was_taken():
    sampler = prioritised([1.0, 2.0, 3.0])
    state = sampler.state_dict()
    sampler.update(tensor([0]), tensor([50.0]))
    sampler.extend(3)
    assert state["masses"].tolist() == [1.0, 2.0, 3.0]
    assert (state["written"], state["highest"]) == (3, 3.0)


def test_a_row_that_is_written_again_after_a_resume_forgets_its_first_life():
    """The run had continued to row 3 when it died; row 3 is another one now."""
    sampler = prioritised([1.0, 1.0, 1.0])
    state = sampler.state_dict()
    sampler.extend(1)
    sampler.update(tensor([3]), tensor([50.0]))
    sampler.load_state_dict(state)
    assert shares(sampler) == near([1 / 3] * 3)
    sampler.extend(1)
    assert shares(sampler) == near([1 / 4] * 4)


class Naive:
    """The same on a list of all priorities there ever were."""

    def __init__(self, capacity, exponent, seed):
        self.capacity, self.exponent = capacity, exponent
        self.priorities, self.highest = [], 1.0
        self.generator = torch.Generator().manual_seed(seed)

    def window(self):
        """Row numbers in the order of their slots."""
        rows = range(len(self.priorities))[-self.capacity :]
        return sorted(rows, key=lambda row: row % self.capacity)

    def draw(self, batch, importance):
        rows = self.window()
        masses = [self.priorities[row] ** self.exponent for row in rows]
        sums = list(accumulate(masses))
        points = torch.rand(batch, generator=self.generator, dtype=torch.float64).tolist()
        drawn = [bisect_left(sums, point * sums[-1]) for point in points]
        weights = [(len(rows) * masses[i] / sums[-1]) ** -importance for i in drawn]
        return [rows[i] for i in drawn], [weight / max(weights) for weight in weights]

    def update(self, rows, priorities):
        for row, priority in zip(rows, priorities, strict=True):
            if row in self.window():
                self.priorities[row] = max(priority, PRIORITY_FLOOR)
                self.highest = max(self.highest, priority)


@given(st.data())
def test_prioritised_equals_a_naive_list(data):
    capacity, exponent = data.draw(st.integers(1, 9)), data.draw(st.floats(0, 1))
    sampler, naive = Prioritised(seed=3, capacity=capacity, exponent=exponent), Naive(capacity, exponent, 3)
    for count in data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=8)):
        sampler.extend(count)
        naive.priorities += [naive.highest] * count
        assert len(sampler) == len(naive.window())
        if not naive.priorities:
            continue
        rows, weights = sampler.draw(5, 0.7)
        expected_rows, expected_weights = naive.draw(5, 0.7)
        assert rows.tolist() == expected_rows
        assert weights.tolist() == pytest.approx(expected_weights, rel=1e-5)
        some = data.draw(st.lists(st.tuples(st.integers(0, len(naive.priorities) - 1), st.floats(0, 100)), max_size=6))
        rows, priorities = [row for row, _ in some], [priority for _, priority in some]
        sampler.update(tensor(rows, dtype=torch.int64), tensor(priorities, dtype=torch.float64))
        naive.update(rows, priorities)


@pytest.mark.parametrize("capacity", [1, 4])
def test_one_draw_of_one_row_has_an_axis_like_any_other(capacity):
    """PyTorch's sum tree gives a number instead of an array where one entry is asked for."""
    for sampler in (prioritised([0.5], capacity=capacity), Sampler(seed=0, capacity=capacity)):
        sampler.extend(1)
        rows, weights = sampler.draw(1, 0.7)
        assert (rows.shape, weights.tolist()) == ((1,), [1.0])
        sampler.update(rows, tensor([2.0]))


@pytest.mark.parametrize("saved", [lambda masses: masses, lambda masses: masses.item()], ids=["now", "before"])
def test_a_window_of_one_row_is_saved_and_loaded(saved):
    """Checkpoints of before have the one mass as a number."""
    sampler = prioritised([3.0, 7.0], capacity=1)
    state = sampler.state_dict()
    assert state["masses"].tolist() == [7.0]
    other = prioritised(capacity=1)
    other.load_state_dict(state | {"masses": saved(state["masses"])})
    for each in (sampler, other):
        each.extend(1)
    assert other.draw(1, 1.0)[0].tolist() == [2]
    assert other.state_dict()["masses"].tolist() == sampler.state_dict()["masses"].tolist() == [7.0]


@pytest.mark.parametrize("masses", [[math.nan, 1.0], [-1.0, 1.0], [math.inf, 1.0], [0.0, 1.0], "ab", [1.0]])
def test_masses_that_no_sampler_saved_are_refused(masses):
    sampler = prioritised([1.0, 2.0])
    state = sampler.state_dict()
    with pytest.raises((ValueError, TypeError)):
        sampler.load_state_dict(state | {"masses": tensor(masses) if isinstance(masses, list) else masses})
    assert sampler.state_dict()["masses"].tolist() == [1.0, 2.0]
