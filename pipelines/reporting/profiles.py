"""Variants that ran on several tasks, compared over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from modules.plots.statistics import Estimate, Statistic, improvement_over_tasks, iqm, mean, over_tasks, profile
from pipelines.reporting.comparison import Group
from pipelines.reporting.tables import table, with_interval

LEVELS = 101  # of a profile


@dataclass(frozen=True, kw_only=True)
class OverTasks:
    """What several variants achieved on the tasks that all of them ran on, normalised.

    Attributes:
        exps: the tasks.
        ranges: of each, what counts as 0 and as 1.
        scores: of each variant, the runs [n] of each task.
        left_out: variants that were not on all of the tasks.
    """

    exps: Sequence[str]
    ranges: Mapping[str, tuple[float, float]]
    scores: Mapping[str, Sequence[np.ndarray]]
    left_out: Sequence[str]

    def profiles(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Levels [L], and of each variant its profile [L, 3] (value, low, high)."""
        ends = [np.concatenate(runs) for runs in self.scores.values()]
        low, high = min(0.0, *(end.min() for end in ends)), max(1.0, *(end.max() for end in ends))
        levels = np.linspace(low, high, LEVELS)
        found = {v: over_tasks(runs, lambda tasks: profile(tasks, levels)) for v, runs in self.scores.items()}
        return levels, found

    def improvements(self) -> dict[str, Estimate]:
        """P(A > B) of each pair of variants."""
        return {
            f"{a} > {b}": improvement_over_tasks(list(zip(self.scores[a], self.scores[b], strict=True)))
            for a, b in combinations(self.scores, 2)
        }

    def text(self) -> str:
        """Tables of both, and how scores are normalised."""

        def pooled(statistic: Statistic, tasks: Sequence[np.ndarray]) -> str:
            value = over_tasks(tasks, lambda runs: statistic(np.concatenate(runs)))
            return with_interval(Estimate(*value.tolist()))

        rows = [
            [variant, str(sum(map(len, tasks))), pooled(iqm, tasks), pooled(mean, tasks)]
            for variant, tasks in self.scores.items()
        ]
        pairs = [[name, with_interval(found, "{:.2f}".format)] for name, found in self.improvements().items()]
        ranges = ", ".join(f"{exp} {low:g} to {high:g}" for exp, (low, high) in self.ranges.items())
        return (
            f"## Over {len(self.exps)} tasks\n\n"
            + table(["variant", "runs", "normalised IQM [95 % CI]", "normalised mean [95 % CI]"], rows, names=1)
            + "\n"
            + table(["A > B", "P(A > B), mean over tasks [95 % CI]"], pairs, names=1)
            + (f"\nNot on all of these tasks, and left out: {', '.join(self.left_out)}.\n" if self.left_out else "")
            + f"\nNormalised: 0 to 1 is {ranges}. Intervals: stratified bootstrap over the runs of each task.\n"
        )


def over_all_tasks(
    groups: Sequence[Group], quantity: str, lows: Mapping[str, float], highs: Mapping[str, float]
) -> OverTasks | None:
    """Compare variants over tasks; None if no two of either are there together.

    0 is what random actions return, if `lows` has it, else the worst run of the task; 1 is the target, if `highs` has
    one, else the best run.
    """
    samples = {(group.exp, group.variant): group.samples[quantity] for group in groups}
    samples = {key: values for key, values in samples.items() if values.size}
    tasks_of: dict[str, set[str]] = {}
    for exp, variant in samples:
        tasks_of.setdefault(variant, set()).add(exp)
    variants = sorted(tasks_of, key=lambda variant: (-len(tasks_of[variant]), variant))
    while len(variants) > 2 and len(set.intersection(*(tasks_of[variant] for variant in variants))) < 2:
        variants.pop()  # one of the fewest tasks
    left_out, variants = sorted(tasks_of.keys() - set(variants)), sorted(variants)
    exps = sorted(set.intersection(*(tasks_of[variant] for variant in variants))) if variants else []
    if len(variants) < 2 or len(exps) < 2:
        return None
    ranges = {}
    for exp in exps:
        runs = np.concatenate([samples[exp, variant] for variant in variants])
        low, high = lows.get(exp, runs.min()), highs.get(exp, runs.max())
        if high > low:  # else all of it is equal, and tells nothing
            ranges[exp] = (float(low), float(high))
    if len(ranges) < 2:
        return None
    scores = {v: [(samples[exp, v] - low) / (high - low) for exp, (low, high) in ranges.items()] for v in variants}
    return OverTasks(exps=list(ranges), ranges=ranges, scores=scores, left_out=left_out)
