"""Compare runs over seeds: `python -m pipelines.report RUN_DIRS… [--against RUN_DIRS…]`."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import NoReturn

import numpy as np

from modules.loggers.metrics import METRICS
from modules.plots import Difference, GroupCurve, draw_report
from modules.runs import EVALUATED, SCORE_METRIC, Run, find_runs, load_run
from modules.spec import UsageError
from modules.statistics import Estimate, Statistic, common_curve, difference, estimate, improvement, iqm, mean
from pipelines.command import command

CURVE_RESAMPLES = 1_000
METHOD = (
    "Intervals: 95 %, percentile bootstrap over runs. IQM: mean of the middle 50 % of the runs (Agarwal et al. 2021)."
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one (exp, memory) on one side; `samples[quantity]` [n] is what they achieved."""

    side: str
    label: str
    runs: Sequence[Run]
    samples: Mapping[str, np.ndarray]


def group_runs(runs: Sequence[Run], quantity: str, *, side: str = "", label: str = "") -> list[Group]:
    """Split `runs` by (exp, memory); `quantity` names what `Run.curve.final` is.

    A `label` replaces the name of a group that is alone on its side, otherwise it or `side` stands before it.
    """
    ordered = sorted(runs, key=lambda run: (run.exp, run.memory, run.seed, str(run.path)))
    kinds = [(kind, list(same)) for kind, same in groupby(ordered, key=lambda run: (run.exp, run.memory))]
    groups = []
    for kind, same in kinds:
        name, prefix = ", ".join(kind), label or side
        full = label if label and len(kinds) == 1 else f"{prefix}: {name}" if prefix else name
        final = np.array([run.curve.final for run in same])
        samples = {quantity: final[np.isfinite(final)]}
        evaluated = np.array([run.numbers.get("evaluation mean", math.nan) for run in same])
        if np.isfinite(evaluated).all():
            samples["evaluation mean"] = evaluated
        groups.append(Group(side=prefix, label=full, runs=same, samples=samples))
    return groups


def group_curve(group: Group, quantity: str) -> GroupCurve:
    """Compute what the picture shows of `group`."""
    seeds = [run.curve for run in group.runs]
    grid, values = common_curve([(seed.frames, seed.values) for seed in seeds])

    def band(statistic: Statistic) -> np.ndarray:
        points = [estimate(column, statistic, resamples=CURVE_RESAMPLES) for column in values.T]
        return np.array(points).reshape(-1, 3)

    final_mean, final_iqm = (_estimate_or_nothing(group.samples[quantity], f) for f in (mean, iqm))
    return GroupCurve(
        label=group.label, seeds=seeds, grid=grid, mean=band(mean), iqm=band(iqm),
        final_mean=final_mean, final_iqm=final_iqm,
    )  # fmt: skip


def _estimate_or_nothing(values: np.ndarray, statistic: Statistic) -> Estimate:
    return estimate(values, statistic) if values.size else Estimate(math.nan, math.nan, math.nan)


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


def _text(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:#.4g}"


def _chance(item: Estimate) -> str:
    interval = f" [{item.low:.2f}, {item.high:.2f}]" if math.isfinite(item.low) else ""
    return f"{item.value:.2f}{interval}"


def _with_interval(item: Estimate) -> str:
    interval = f" [{_text(item.low)}, {_text(item.high)}]" if math.isfinite(item.low) else ""
    return _text(item.value) + interval


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> str:
    """Lay out a Markdown table whose first `names` columns are text and the rest numbers."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i < names else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * w if i < names else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)]) + "\n"


def run_table(groups: Sequence[Group], quantity: str) -> str:
    """List every run; – stands for what was not measured."""
    columns = {"frames": "frames", "updates": "updates", "wall_s": "wall [s]"}
    columns |= {"score": "score", "best_score": "best score"}
    if any("evaluation mean" in run.numbers for group in groups for run in group.runs):
        columns |= {f"evaluation {key}": f"evaluation {key}" for key in EVALUATED}
    header, rows = ["side", "exp", "memory", "seed", "status", *columns.values(), quantity], []
    for group in groups:
        for run in group.runs:
            status = run.status if run.curve.finished else f"**{run.status}**"
            numbers = [run.numbers.get(key, math.nan) for key in columns] + [run.curve.final]
            names = [group.side, run.exp, run.memory, str(run.seed), status]
            rows.append(names + [_text(number) for number in numbers])
    start = 0 if groups[0].side else 1  # a side is a column only if there are sides
    end = -1 if quantity == "score" else None  # which is there already
    return _table(header[start:end], [row[start:end] for row in rows], names=5 - start)


def group_table(groups: Sequence[Group]) -> str:
    """List the statistics of every group; where the IQM equals the mean by definition, say so."""
    rows = []
    for group in groups:
        for quantity, values in group.samples.items():
            if not values.size:
                continue
            middle = _with_interval(estimate(values, iqm)) if values.size >= 4 else "= mean (n < 4)"
            average = _with_interval(estimate(values, mean))
            rows.append([group.label, quantity, str(values.size), average, middle, _text(values.min())])
    return _table(["group", "quantity", "n", "mean [95 % CI]", "IQM [95 % CI]", "min"], rows, names=2)


def difference_table(differences: Sequence[Difference]) -> str:
    """List what separates side A from side B."""
    header = ["A − B", "quantity", "Δ mean [95 % CI]", "Δ IQM [95 % CI]", "P(A > B) [95 % CI]"]
    rows = [
        [d.label, d.quantity, _with_interval(d.mean), _with_interval(d.iqm), _chance(d.improvement)]
        for d in differences
    ]
    return _table(header, rows, names=2)


def notes(groups: Sequence[Group], curves: Sequence[GroupCurve], quantity: str) -> list[str]:
    """Say what limits the numbers: unfinished or repeated runs, few runs, shortened curves."""
    found = [METHOD]
    runs = [run for group in groups for run in group.runs]
    if unfinished := sum(not run.curve.finished for run in runs):
        found.append(f"{unfinished} of {len(runs)} runs did not finish (bold): they count as far as they came.")
    for group, curve in zip(groups, curves, strict=True):
        found += [f"{group.label}: {text}." for text in _limits(group, curve, quantity)]
    found.append(f"Commits: {', '.join(sorted({run.commit for run in runs}))}.")
    return found


def _limits(group: Group, curve: GroupCurve, quantity: str) -> Iterator[str]:
    n = group.samples[quantity].size
    if missing := len(group.runs) - n:
        yield f"{missing} of its runs have no {quantity} and are not in its statistics"
    if 0 < n < 5:
        yield "one run gives no interval" if n == 1 else f"intervals from {n} runs are too narrow"
    seeds = Counter(run.seed for run in group.runs)
    if again := [str(seed) for seed, count in seeds.items() if count > 1]:
        yield f"seed {', '.join(again)} occurs more than once, and equal seeds are not independent"
    reached = max((seed.frames[-1] for seed in curve.seeds if seed.frames.size), default=0.0)
    if not curve.grid.size or curve.grid[-1] < reached:
        yield "its curve covers only the frames at which all its runs have data"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help.")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m pipelines.report", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, help="run directories, or folders above several")
    add("--against", nargs="+", type=Path, default=[], help="the runs to compare with: side B")
    add("--metric", default=SCORE_METRIC, help="column of metrics.csv or timing.csv (%(default)s)")
    add("--out", type=Path, default=Path("outputs/report"), help="folder to write to (%(default)s)")
    add("--labels", nargs="+", default=[], help="names of the sides: one, or two with --against")
    options = parser.parse_args(argv)
    if options.labels and len(options.labels) != (sides := 1 + bool(options.against)):
        raise UsageError(f"--labels takes one name per side: {sides} here, not {len(options.labels)}.")
    return options


def _load_sides(options: argparse.Namespace, quantity: str) -> list[list[Group]]:
    places = [find_runs(folders) for folders in (options.runs, options.against) if folders]
    if len(places) == 2 and (both := {p.resolve() for p in places[0]} & {p.resolve() for p in places[1]}):
        raise UsageError(f"'{min(both)}' is on both sides of --against; give it once.")
    names = options.labels or [""] * len(places)
    letters = ["A", "B"] if len(places) == 2 else [""]
    sides = [
        group_runs([load_run(path, options.metric) for path in paths], quantity, side=letter, label=name)
        for paths, letter, name in zip(places, letters, names, strict=True)
    ]
    if not all(any(group.samples[quantity].size for group in side) for side in sides):
        raise UsageError(f"no run has a value of '{options.metric}' yet; there is nothing to report.")
    return sides


def _axis_label(metric: str) -> str:
    name = "greedy return per episode" if metric == SCORE_METRIC else metric
    return name + "".join(f" [{known.unit}]" for known in METRICS if known.name == metric)


def report(options: argparse.Namespace) -> str:
    """Read the runs, write report.md and report.png into `options.out` and return the text.

    Raises:
        UsageError: if the runs cannot be compared; nothing is written then.
    """
    quantity = "score" if options.metric == SCORE_METRIC else f"last {options.metric}"
    sides = _load_sides(options, quantity)
    groups = [group for side in sides for group in side]
    curves = [group_curve(group, quantity) for group in groups]
    differences = compare(*sides) if len(sides) == 2 else []
    parts = [run_table(groups, quantity), group_table(groups)]
    if differences:
        parts.append(difference_table(differences))
    parts.append("".join(f"- {note}\n" for note in notes(groups, curves, quantity)))
    text = "\n".join(parts)
    shown = [item for item in differences if item.quantity == quantity]
    picture = draw_report(curves, shown, metric=_axis_label(options.metric), quantity=quantity)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "report.png").write_bytes(picture)
        page = f"# Report: {options.metric}\n\n![Curves and final values](report.png)\n\n{text}"
        (options.out / "report.md").write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to '{options.out}': {error}.") from error
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; input that cannot be reported ends in `SystemExit` with code 2."""
    with command():
        text = report(_parse(argv))
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
