"""Runs of one kind as a group: what they achieved, their curves, and what separates two groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np

from modules.plots.compare import Difference, GroupCurve
from modules.plots.runs import SUMMARY, RunRecord
from modules.plots.statistics import Statistic, common_curve, difference, estimate, improvement, iqm, mean
from pipelines.reporting.variants import variants

CURVE_RESAMPLES = 1_000
HELD_OUT = "evaluation mean"  # the quantity that evaluation.json gives


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one variant of an exp on one side; `samples[quantity]` [n] is what they achieved."""

    side: str
    label: str
    exp: str
    variant: str
    runs: Sequence[RunRecord]
    samples: Mapping[str, np.ndarray]


def group_runs(
    runs: Sequence[RunRecord], quantity: str, by: Sequence[str] = (), *, side: str = "", label: str = ""
) -> list[Group]:
    """Split `runs` by exp and variant (see `variants`); `quantity` names what `RunRecord.curve.final` is.

    A `label` replaces the name of a group that is alone on its side, otherwise it or `side` stands before it.
    """
    ordered = sorted(runs, key=lambda run: (run.exp, run.memory, run.seed, str(run.path)))
    kinds: dict[tuple[str, str], list[RunRecord]] = {}
    for exp, same in groupby(ordered, key=lambda run: run.exp):
        of_exp = list(same)
        for run, variant in zip(of_exp, variants(of_exp, by), strict=True):
            kinds.setdefault((exp, variant), []).append(run)
    groups = []
    for exp, variant in sorted(kinds):
        name, prefix = f"{exp}, {variant}", label or side
        full = label if label and len(kinds) == 1 else f"{prefix}: {name}" if prefix else name
        same = kinds[exp, variant]
        groups.append(
            Group(side=prefix, label=full, exp=exp, variant=variant, runs=same, samples=samples_of(same, quantity))
        )
    return groups


def samples_of(runs: Sequence[RunRecord], quantity: str) -> dict[str, np.ndarray]:
    """What runs achieved, [n]: the finite values of the `quantity`, and the held-out evaluations if all have one."""
    final = np.array([run.curve.final for run in runs])
    samples = {quantity: final[np.isfinite(final)]}
    held_out = np.array([run.numbers.get(HELD_OUT, math.nan) for run in runs])
    if np.isfinite(held_out).all():
        samples[HELD_OUT] = held_out
    return samples


def newest(group: Group, quantity: str) -> Group:
    """Keep one run of each seed, the one whose summary was written last: equal seeds are not independent."""
    by_age = sorted(group.runs, key=lambda run: ((run.path / SUMMARY).stat().st_mtime_ns, str(run.path)))
    kept = list({run.seed: run for run in by_age}.values())
    return replace(group, runs=kept, samples=samples_of(kept, quantity))


def group_curve(group: Group, metric: str, quantity: str, *, colour: int) -> GroupCurve:
    """Compute what the picture shows of `group`."""
    seeds = [run.curves[metric] for run in group.runs]
    grid, values = common_curve([(seed.frames, seed.values) for seed in seeds], [s.stopped_early for s in seeds])

    def band(statistic: Statistic) -> np.ndarray:
        points = [estimate(column, statistic, resamples=CURVE_RESAMPLES) for column in values.T]
        return np.array(points).reshape(-1, 3)

    final = group.samples[quantity]
    return GroupCurve(
        label=group.label, colour=colour, seeds=seeds, grid=grid, mean=band(mean), iqm=band(iqm),
        final_mean=estimate(final, mean), final_iqm=estimate(final, iqm),
    )  # fmt: skip


def compare(side_a: Sequence[Group], side_b: Sequence[Group]) -> list[Difference]:
    """Compare every group of A with every group of B in every quantity that both have."""
    return [
        Difference(
            label=f"{a.label} − {b.label}",
            quantity=quantity,
            mean=difference(x, y, mean),
            iqm=difference(x, y, iqm),
            improvement=improvement(x, y),
        )
        for a, b in product(side_a, side_b)
        for quantity, x in a.samples.items()
        if x.size and (y := b.samples.get(quantity, np.empty(0))).size
    ]
