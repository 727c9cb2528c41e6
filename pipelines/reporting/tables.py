"""The tables of a report, as Markdown."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modules.plots.compare import Difference
from modules.plots.runs import EVALUATED, RANDOM_PLAY
from modules.plots.statistics import Estimate, estimate, iqm, mean
from pipelines.reporting.caveats import OUTDATED
from pipelines.reporting.comparison import HELD_OUT, Group
from pipelines.reporting.variants import settings

TOLERANCE = 1e-6  # returns are sums in single precision: 1 - 0.1 - 0.1 - 0.1 < 0.7
TRAINING = "‡"


def run_table(groups: Sequence[Group], quantity: str) -> str:
    """List every run; – stands for what was not measured."""
    measured = {name for group in groups for run in group.runs for name in run.numbers}
    columns = {"frames": "frames", "updates": "updates", "wall_s": "wall [s]"}
    columns |= {"score": "score", "best_score": "best score"}
    columns |= {name: name for name in (*(f"evaluation {key}" for key in EVALUATED), RANDOM_PLAY) if name in measured}
    header, rows = ["side", "exp", "variant", "seed", "status", *columns.values(), quantity], []
    for group in groups:
        for run in group.runs:
            status = run.status if run.curve.finished else f"**{run.status}**"
            numbers = {key: run.numbers.get(key, math.nan) for key in columns} | {quantity: run.curve.final}
            marks = {HELD_OUT: OUTDATED * run.outdated}
            names = [group.side, run.exp, group.variant, str(run.seed), status]
            rows.append(names + [_text(numbers[key]) + marks.get(key, "") for key in [*columns, quantity]])
    start = 0 if groups[0].side else 1  # a side is a column only if there are sides
    end = -1 if quantity == "score" else None  # which is there already
    return table(header[start:end], [row[start:end] for row in rows], names=5 - start)


def group_table(groups: Sequence[Group]) -> str:
    """List the statistics of every group; where the IQM equals the mean by definition, say so."""
    rows = []
    for group in groups:
        for quantity, values in group.samples.items():
            if not values.size:
                continue
            middle = with_interval(estimate(values, iqm)) if values.size >= 4 else "= mean (n < 4)"
            average = with_interval(estimate(values, mean))
            rows.append([group.label, quantity, str(values.size), average, middle, _text(values.min())])
    return table(["group", "quantity", "n", "mean [95 % CI]", "IQM [95 % CI]", "min"], rows, names=2)


def difference_table(differences: Sequence[Difference]) -> str:
    """List what separates side A from side B."""
    header = ["A − B", "quantity", "Δ mean [95 % CI]", "Δ IQM [95 % CI]", "P(A > B) [95 % CI]"]
    rows = [
        [
            d.label,
            d.quantity,
            with_interval(d.mean),
            with_interval(d.iqm),
            with_interval(d.improvement, "{:.2f}".format),
        ]
        for d in differences
    ]
    return table(header, rows, names=2)


def result_table(groups: Sequence[Group], targets: Mapping[str, float]) -> str:
    """Lay out one line per exp and one column per variant; `targets` of the exps are returns to be reached.

    A cell has the held-out evaluation, as mean over the seeds; where not all runs have one, the score. Each seed of a
    group is to be there once.
    """
    variants = sorted({group.variant for group in groups})
    rows = []
    for exp in dict.fromkeys(group.exp for group in groups):
        here = {group.variant: _cell(group, targets.get(exp)) for group in groups if group.exp == exp}
        target = [_text(targets.get(exp, math.nan))] * bool(targets)
        rows.append([exp, *target, *(here.get(variant, "–") for variant in variants)])
    text = table(["exp", *["target"] * bool(targets), *variants], rows, names=1)
    said = "lowest; seeds that reach the target, of all" if targets else "lowest; seeds"
    text += f"\nMean return of the held-out evaluation, mean over the seeds ({said})."
    if TRAINING in text:
        text += f" {TRAINING} Of the last evaluation in training instead: not all of its runs have a held-out one."
    for group in groups:
        lengths = {str(known["total_frames"]) for run in group.runs if (known := settings(run.path))}
        if len(lengths) > 1:
            text += f" {group.label} mixes runs of {' and '.join(sorted(lengths, key=int))} total_frames."
    return text + "\n"


def _cell(group: Group, target: float | None) -> str:
    values = group.samples.get(HELD_OUT)
    mark = OUTDATED if any(run.outdated for run in group.runs) else ""
    if values is None:
        values, mark = group.samples["score"], TRAINING
    if not values.size:
        return f"– (0 of {len(group.runs)})"
    count = f"n = {values.size}" if target is None else f"{reaching(values, target)} of {len(group.runs)}"
    return f"{_text(values.mean())}{mark} ({_text(values.min())}; {count})"


def reaching(values: np.ndarray, target: float) -> int:
    """Count the `values` that reach `target`, up to what single precision makes of it."""
    return int((values >= target - TOLERANCE * max(1.0, abs(target))).sum())


def _text(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:#.4g}"


def with_interval(item: Estimate, text: Callable[[float], str] = _text) -> str:
    """Write a value, and its interval if it has one."""
    interval = f" [{text(item.low)}, {text(item.high)}]" if math.isfinite(item.low) else ""
    return text(item.value) + interval


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> str:
    """Lay out a Markdown table whose first `names` columns are text and the rest numbers."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i < names else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * w if i < names else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)]) + "\n"
