"""Compare runs over seeds: `python -m pipelines.report RUN_DIRS… [--against RUN_DIRS… | --table]`."""

import argparse
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modules.files import refuse_unwritable, write_bytes, write_text
from modules.plots.compare import Difference, GroupCurve, Panel, draw_report
from modules.plots.runs import RANDOM_PLAY, SCORE_METRIC, find_runs, load_run
from modules.spec import UsageError
from pipelines.config.metrics_page import known
from pipelines.config.settings import folder
from pipelines.console.command import command
from pipelines.console.output import one_line, write
from pipelines.reporting.caveats import notes
from pipelines.reporting.comparison import Group, compare, group_curve, group_runs, newest
from pipelines.reporting.tables import difference_table, group_table, result_table, run_table

Curves = Mapping[str, GroupCurve]  # of one group, by metric


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named value of `metric`, for one `exp` or, if that is empty, for all."""

    exp: str
    metric: str
    name: str
    value: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help.")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m pipelines.report", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("runs", nargs="+", type=folder, help="run directories, or folders above several")
    add("--against", nargs="+", type=folder, default=[], help="the runs to compare with: side B")
    add("--table", action="store_true", help="one line per experiment, one column per memory; a picture of each")
    add("--target", nargs="+", default=[], metavar="[EXP=]RETURN", help="return to be reached, of all or one exp")
    add("--metric", default=SCORE_METRIC, help="column of metrics.csv or timing.csv (%(default)s)")
    add(
        "--panels",
        nargs="+",
        default=[],
        metavar="METRIC",
        help="curves to draw side by side, e.g. with eval/length_mean",
    )
    add("--lines", nargs="+", default=[], metavar="[EXP:][METRIC:]NAME=VALUE", help="lines across the curves")
    add("--out", type=folder, default=Path("outputs/report"), help="folder to write to (%(default)s)")
    add("--labels", nargs="+", type=one_line, default=[], help="names of the sides: one, or two with --against")
    options = parser.parse_args(argv)
    if options.labels and len(options.labels) != (sides := 1 + bool(options.against)):
        raise UsageError(f"--labels takes one name per side: {sides} here, not {len(options.labels)}.")
    if options.table and (options.against or options.metric != SCORE_METRIC):
        raise UsageError(f"--table shows the {SCORE_METRIC} of one side; leave out --against and --metric.")
    if options.target and not options.table:
        raise UsageError("--target counts seeds in the table of --table; for a line alone take --lines.")
    options.panels = _words(options.panels) or [options.metric]
    if len(set(options.panels)) < len(options.panels):
        raise UsageError("--panels names a metric more than once.")
    options.lines = [_line(word, options) for word in _words(options.lines)]
    options.target = [_target(word, options) for word in _words(options.target)]
    return options


def _words(given: Sequence[str]) -> list[str]:
    """Split at commas, which do the same as spaces between arguments."""
    return [word.strip() for argument in given for word in argument.split(",") if word.strip()]


def _line(word: str, options: argparse.Namespace) -> Line:
    scope, _, value = word.rpartition("=")
    *where, name = scope.split(":")
    metrics, exps = [part for part in where if "/" in part], [part for part in where if "/" not in part]
    if not name or len(metrics) > 1 or len(exps) > 1:
        raise UsageError(f"--lines: '{word}' is not of the form [EXP:][METRIC:]NAME=VALUE.")
    metric = "".join(metrics) or options.metric
    if metric not in options.panels:
        raise UsageError(f"--lines: no panel shows '{metric}', where '{word}' belongs; --panels names them.")
    return Line(exp="".join(exps), metric=metric, name=name, value=_finite("--lines", word, value))


def _target(word: str, options: argparse.Namespace) -> Line:
    exp, _, value = word.rpartition("=")
    return Line(exp=exp, metric=options.metric, name="target", value=_finite("--target", word, value))


def _finite(option: str, word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option}: '{text}' in '{word}' must be a number.")
    return value


def _load_sides(options: argparse.Namespace, quantity: str) -> list[list[Group]]:
    places = [find_runs(folders) for folders in (options.runs, options.against) if folders]
    if len(places) == 2 and (both := {p.resolve() for p in places[0]} & {p.resolve() for p in places[1]}):
        raise UsageError(f"'{min(both)}' is on both sides of --against; give it once.")
    names = options.labels or [""] * len(places)
    letters = ["A", "B"] if len(places) == 2 else [""]
    sides = [
        group_runs(
            [load_run(path, options.metric, options.panels) for path in paths], quantity, side=letter, label=name
        )
        for paths, letter, name in zip(places, letters, names, strict=True)
    ]
    if not all(any(group.samples[quantity].size for group in side) for side in sides):
        raise UsageError(f"no run has a value of '{options.metric}' yet; there is nothing to report.")
    exps = sorted({group.exp for side in sides for group in side})
    for option, given in (("--lines", options.lines), ("--target", options.target)):
        if unknown := {line.exp for line in given} - {"", *exps}:
            raise UsageError(f"{option}: no run is of the experiment '{min(unknown)}'; there are {', '.join(exps)}.")
    return sides


def _random_play(options: argparse.Namespace, groups: Sequence[Group]) -> list[Line]:
    """Make a line of what random actions return, for every experiment in which that was evaluated."""
    if SCORE_METRIC not in options.panels:
        return []
    runs = [run for group in groups for run in group.runs if RANDOM_PLAY in run.numbers]
    return [
        Line(
            exp=exp,
            metric=SCORE_METRIC,
            name=RANDOM_PLAY,
            value=statistics.fmean(run.numbers[RANDOM_PLAY] for run in runs if run.exp == exp),
        )
        for exp in dict.fromkeys(run.exp for run in runs)
    ]


def _axis_label(metric: str) -> str:
    names = {SCORE_METRIC: "greedy return per episode", "eval/length_mean": "steps per greedy episode"}
    unit = known()[metric].unit if metric in known() else ""
    return names.get(metric, metric) + (f" [{unit}]" if unit else "")


def _picture(
    options: argparse.Namespace, shown: Mapping[str, Sequence[Curves]], differences: Sequence[Difference], quantity: str
) -> bytes:
    """Draw the groups `shown`, by exp, with the lines that belong to them."""
    groups = [curves for same in shown.values() for curves in same]
    # Below four runs the IQM is the mean: a second panel would repeat the first.
    twice = len(options.panels) == 1 and any(len(curves[options.metric].seeds) >= 4 for curves in groups)
    panels = [
        Panel(
            label=_axis_label(metric),
            groups=[curves[metric] for curves in groups],
            statistic=statistic,
            lines=_lines_across(options, list(shown), metric),
        )
        for metric in options.panels
        for statistic in (("mean", "iqm") if twice else ("mean",))
    ]
    pairs = [item for item in differences if item.quantity == quantity]
    return draw_report(panels, [curves[options.metric] for curves in groups], pairs, quantity=quantity)


def _lines_across(options: argparse.Namespace, exps: Sequence[str], metric: str) -> dict[str, float]:
    """Name the lines of the panel of `metric`; one of a single exp replaces one of all, if it is alone there."""
    lines = [line for line in [*options.lines, *options.target] if line.metric == metric and line.exp in ("", *exps)]
    lines.sort(key=lambda line: line.exp != "")
    return {f"{line.exp} {line.name}".strip() if len(exps) > 1 else line.name: line.value for line in lines}


def _pictures(
    options: argparse.Namespace, groups: Sequence[Group], differences: Sequence[Difference], quantity: str
) -> dict[str, bytes]:
    """Draw one picture of everything; with --table one per experiment, each memory in the same colour everywhere."""
    memories = sorted({group.memory for group in groups})
    shown: dict[str, list[Curves]] = {}
    for i, group in enumerate(groups):
        colour = memories.index(group.memory) if options.table else i
        curves = {metric: group_curve(group, metric, quantity, colour=colour) for metric in group.runs[0].curves}
        shown.setdefault(group.exp, []).append(curves)
    if not options.table:
        return {"report.png": _picture(options, shown, differences, quantity)}
    names = {exp: re.sub(r"[^\w.-]", "_", exp) for exp in shown}
    return {f"report_{names[exp]}.png": _picture(options, {exp: shown[exp]}, [], quantity) for exp in shown}


def targets(options: argparse.Namespace, groups: Sequence[Group]) -> dict[str, float]:
    """Find the target of every exp that has one: its own before that of all."""
    given = sorted(options.target, key=lambda line: line.exp != "")
    return {group.exp: line.value for line in given for group in groups if line.exp in ("", group.exp)}


def report(options: argparse.Namespace) -> None:
    """Read the runs, write report.md and its pictures into `options.out`, and the text to standard output.

    Raises:
        UsageError: if the runs cannot be compared or the folder cannot be written; nothing is written then.
        OSError: if a file could not be written; the text stands on standard output all the same.
    """
    refuse_unwritable(options.out, "--out")
    quantity = "score" if options.metric == SCORE_METRIC else f"last {options.metric}"
    sides = _load_sides(options, quantity)
    groups = [group for side in sides for group in side]
    differences = compare(*sides) if len(sides) == 2 else []
    parts = [run_table(groups, quantity), group_table(groups)]
    if options.table:
        parts.insert(0, result_table([newest(group, quantity) for group in groups], targets(options, groups)))
    if differences:
        parts.append(difference_table(differences))
    options.lines += _random_play(options, groups)
    parts.append("".join(f"- {note}\n" for note in notes(groups, quantity)))
    text = "\n".join(parts)
    pictures = _pictures(options, groups, differences, quantity)
    links = "\n".join(f"![Curves and final values]({name})\n" for name in pictures)
    page = options.out / "report.md"
    done = "Replaced" if page.exists() else "Written"
    try:
        for name, picture in pictures.items():
            write_bytes(options.out / name, picture)
        write_text(page, f"# Report: {options.metric}\n\n{links}\n{text}")
    except OSError:
        write(text)
        raise
    write(f"{text}\n{done}: {', '.join(str(options.out / name) for name in (page.name, *pictures))}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; input that cannot be reported ends in `SystemExit` with code 2."""
    with command():
        report(_parse(argv))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
