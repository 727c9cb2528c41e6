import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from modules.plots.statistics import GRID_POINTS, common_curve, difference, estimate, improvement, iqm, mean


def test_mean_and_iqm_by_hand():
    values = np.array([100.0, 0.0, 4.0, 2.0])  # the middle half is 2 and 4
    assert mean(values) == 26.5
    assert iqm(values) == 3.0


@pytest.mark.parametrize("n", range(1, 14))
def test_iqm_is_the_trimmed_mean_of_scipy(n):
    values = np.random.default_rng(n).normal(size=(n, 3))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=0))


def test_interval_of_two_runs_is_known():
    # The resamples are (0, 0), (0, 1), (1, 0), (1, 1): a quarter of the means is 0 and a quarter is 1.
    assert estimate(np.array([0.0, 1.0]), mean) == (0.5, 0.0, 1.0)


def test_one_run_has_no_interval():
    value, low, high = estimate(np.array([7.0]), iqm)
    assert value == 7.0
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_interval_contains_the_value_and_shrinks_as_one_over_root_n(statistic):
    rng = np.random.default_rng(1)
    widths = []
    for n in (10, 1000):
        value, low, high = estimate(rng.normal(size=n), statistic, resamples=1000)
        assert low < value < high
        widths.append(high - low)
    assert 5 < widths[0] / widths[1] < 20


def test_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(2).normal(size=400)
    _, low, high = estimate(values, mean)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_intervals_do_not_depend_on_the_order_of_the_runs():
    a, b = np.random.default_rng(3).normal(size=(2, 15))
    assert estimate(a, iqm) == estimate(a[::-1], iqm)
    assert difference(a, b, mean) == difference(a[::-1], b[::-1], mean)
    assert improvement(a, b) == improvement(a[::-1], b[::-1])


def test_difference_and_improvement_by_hand():
    a, b = np.array([1.0, 3.0]), np.array([2.0, 3.0, 0.0])
    assert difference(a, b, mean).value == pytest.approx(2.0 - 5.0 / 3.0)
    assert improvement(a, b).value == pytest.approx((1 + 2.5) / 6)  # 1 beats 0; 3 beats 2 and 0 and ties 3


def test_improvement_of_separated_groups_is_certain():
    a, b = np.array([10.0, 11.0, 12.0]), np.array([1.0, 2.0])
    assert improvement(a, b) == (1.0, 1.0, 1.0)
    assert improvement(b, a) == (0.0, 0.0, 0.0)


def test_curves_are_interpolated_only_where_all_have_data():
    first = (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0]))
    second = (np.array([5.0, 15.0]), np.array([1.0, 3.0]))
    empty = (np.empty(0), np.empty(0))
    grid, values = common_curve([first, second, empty])
    np.testing.assert_array_equal(grid, [5.0, 10.0, 15.0])
    np.testing.assert_array_equal(values, [[5.0, 10.0, 15.0], [1.0, 2.0, 3.0]])


def test_curves_without_common_frames_give_an_empty_grid():
    grid, values = common_curve([(np.array([1.0]), np.array([1.0])), (np.array([2.0]), np.array([1.0]))])
    assert grid.size == 0
    assert values.shape == (2, 0)


def test_long_curves_are_thinned():
    frames = np.arange(1000.0)
    grid, values = common_curve([(frames, 2 * frames)])
    assert (grid[0], grid[-1], grid.size) == (0.0, 999.0, GRID_POINTS)
    np.testing.assert_allclose(values[0], 2 * grid)
