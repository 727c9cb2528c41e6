"""Statistics over runs: mean, interquartile mean, bootstrap intervals, probability of improvement.

Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice".
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SEED = 0  # of the bootstrap: equal numbers give equal intervals
RESAMPLES = 10_000
TASK_RESAMPLES = 2_000  # of many runs at once
GRID_POINTS = 200

Statistic = Callable[[np.ndarray], np.ndarray]


class Estimate(NamedTuple):
    """A statistic over runs with its confidence interval; `low` and `high` are NaN for a single run."""

    value: float
    low: float
    high: float


def mean(values: np.ndarray) -> np.ndarray:
    """Average `values` [n, ...] over the runs."""
    return values.mean(axis=0)


def iqm(values: np.ndarray) -> np.ndarray:
    """Average the middle 50 % of `values` [n, ...] over the runs.

    The n // 4 lowest and highest are cut off, as by scipy.stats.trim_mean(values, 0.25): for n < 4 none.
    """
    runs = len(values)
    return np.sort(values, axis=0)[runs // 4 : runs - runs // 4].mean(axis=0)


def estimate(values: np.ndarray, statistic: Statistic, *, resamples: int = RESAMPLES) -> Estimate:
    """Return `statistic` of `values` [n] with its 95 % percentile bootstrap interval over the runs, NaN if n = 0."""
    if not values.size:
        return Estimate(math.nan, math.nan, math.nan)
    values = np.sort(values)  # here and below: the order of the runs must not matter, to the last bit
    draws = statistic(_resample(values, resamples, np.random.default_rng(SEED)))
    return _interval(statistic(values), draws, len(values))


def difference(a: np.ndarray, b: np.ndarray, statistic: Statistic) -> Estimate:
    """Return statistic(`a` [n]) − statistic(`b` [m]) with its 95 % interval.

    The bootstrap is stratified: each side is resampled by itself.
    """
    a, b = np.sort(a), np.sort(b)
    rng = np.random.default_rng(SEED)
    draws = statistic(_resample(a, RESAMPLES, rng)) - statistic(_resample(b, RESAMPLES, rng))
    return _interval(statistic(a) - statistic(b), draws, min(len(a), len(b)))


def improvement(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Return P(A > B) of a random run of `a` [n] and one of `b` [m], with its interval; a tie counts 1/2."""
    a, b = np.sort(a), np.sort(b)
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    rng = np.random.default_rng(SEED)
    rows, columns = (_resample(np.arange(len(side)), RESAMPLES, rng) for side in (a, b))
    draws = np.array([wins[np.ix_(i, j)].mean() for i, j in zip(rows.T, columns.T, strict=True)])
    return _interval(wins.mean(), draws, min(len(a), len(b)))


def over_tasks(tasks: Sequence[np.ndarray], statistic: Callable[[Sequence[np.ndarray]], np.ndarray]) -> np.ndarray:
    """Return `statistic` of the runs [n] of each task, [...], with its 95 % interval, as [..., 3] (value, low, high).

    The bootstrap is stratified: the runs of each task are resampled by themselves. Where a task has a single run, both
    ends are NaN.
    """
    tasks = [np.sort(values) for values in tasks]
    rng = np.random.default_rng(SEED)
    draws = [statistic([_resample(v, 1, rng)[:, 0] for v in tasks]) for _ in range(TASK_RESAMPLES)]
    ends = np.percentile(draws, (2.5, 97.5), axis=0)
    if min(map(len, tasks)) < 2:
        ends = np.full_like(ends, np.nan)
    return np.stack((statistic(tasks), *ends), axis=-1)


def profile(tasks: Sequence[np.ndarray], levels: np.ndarray) -> np.ndarray:
    """Return the share of runs above each of the `levels` [L], mean over the tasks, [L]: a performance profile."""
    return np.mean([(values[:, None] > levels).mean(0) for values in tasks], axis=0)


def improvement_over_tasks(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Return the mean over tasks of P(A > B) of a run of A [n] and one of B [m], with its interval."""

    def statistic(runs: Sequence[np.ndarray]) -> np.ndarray:
        sides = zip(runs[::2], runs[1::2], strict=True)
        return np.array([((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean() for a, b in sides]).mean(axis=0)

    return Estimate(*over_tasks([side for pair in pairs for side in pair], statistic).tolist())


def common_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]], carried: Sequence[bool] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate n curves (frames [M], values [M]) where all have data; return grid [G] and values [n, G].

    Those that are `carried` keep their last value for as long as any other has data. The grid is made of the measured
    frames themselves, or of evenly spaced ones where these are too many. Empty curves do not count; curves that share
    no frames give an empty grid.
    """
    kept = carried or [False] * len(curves)
    limits = [frames[-1] for (frames, _), on in zip(curves, kept, strict=True) if frames.size and not on]
    curves = [(frames, values) for frames, values in curves if frames.size]
    start = max((frames[0] for frames, _ in curves), default=math.inf)
    end = min(limits, default=max((frames[-1] for frames, _ in curves), default=-math.inf))
    grid = np.unique(np.concatenate([np.empty(0), *(frames for frames, _ in curves)]))
    grid = grid[(grid >= start) & (grid <= end)]
    if grid.size > GRID_POINTS:
        grid = np.linspace(start, end, GRID_POINTS)
    values = [np.interp(grid, *curve) for curve in curves]
    return grid, np.array(values).reshape(len(curves), grid.size)


def _resample(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw [n, resamples] from `values` [n], with replacement."""
    return values[rng.integers(len(values), size=(len(values), resamples))]


def _interval(value: np.ndarray, draws: np.ndarray, runs: int) -> Estimate:
    # One run says nothing about the spread over runs: no interval instead of one of width 0.
    low, high = np.percentile(draws, (2.5, 97.5)) if runs > 1 else (math.nan, math.nan)
    return Estimate(float(value), float(low), float(high))
