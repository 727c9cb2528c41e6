"""Compare runs over seeds: `python -m pipelines.report RUN_DIRS… [--against RUN_DIRS… | --table]`."""

import argparse
import re
import statistics
from collections.abc import Mapping, Sequence

from modules.files import refuse_unwritable, write_bytes, write_text
from modules.plots.compare import Difference, GroupCurve, Panel, draw_report
from modules.plots.profiles import draw_profiles
from modules.plots.runs import RANDOM_PLAY, SCORE_METRIC, find_runs, load_run
from modules.spec import UsageError
from pipelines.console.command import command
from pipelines.console.output import write
from pipelines.reporting.aggregates import aggregates, latex
from pipelines.reporting.caveats import notes
from pipelines.reporting.comparison import HELD_OUT, Group, compare, group_curve, group_runs, newest
from pipelines.reporting.options import Line, parse
from pipelines.reporting.profiles import OverTasks, over_all_tasks
from pipelines.reporting.tables import difference_table, group_table, result_table, run_table

Curves = Mapping[str, GroupCurve]  # of one group, by metric
LABELS = {SCORE_METRIC: "greedy return per episode [reward]", "eval/length_mean": "steps per greedy episode [frames]"}


def _load_sides(options: argparse.Namespace, quantity: str) -> tuple[list[list[Group]], int]:
    """Group the runs of each side; return how many were pruned, and are left out, as well."""
    places = [find_runs(folders) for folders in (options.runs, options.against) if folders]
    if len(places) == 2 and (both := {p.resolve() for p in places[0]} & {p.resolve() for p in places[1]}):
        raise UsageError(f"'{min(both)}' is on both sides of --against; give it once.")
    names = options.labels or [""] * len(places)
    letters = ["A", "B"] if len(places) == 2 else [""]
    found = [[load_run(path, options.metric, options.panels) for path in paths] for paths in places]
    kept = [[run for run in runs if run.status != "pruned"] for runs in found]
    if not all(kept):
        raise UsageError("all runs were pruned (callbacks.pruning); there is nothing to report.")
    sides = [
        group_runs(
            runs,
            *(quantity, options.by),
            side=letter,
            label=name,
        )
        for runs, letter, name in zip(kept, letters, names, strict=True)
    ]
    if not all(any(group.samples[quantity].size for group in side) for side in sides):
        raise UsageError(f"no run has a value of '{options.metric}' yet; there is nothing to report.")
    exps = sorted({group.exp for side in sides for group in side})
    for option, given in (("--lines", options.lines), ("--target", options.target)):
        if unknown := {line.exp for line in given} - {"", *exps}:
            raise UsageError(f"{option}: no run is of the experiment '{min(unknown)}'; there are {', '.join(exps)}.")
    return sides, sum(map(len, found)) - sum(map(len, kept))


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
    if metric in LABELS:
        return LABELS[metric]
    from pipelines.config.metrics_page import known  # imports all that can have metrics, which takes seconds

    unit = known()[metric].unit if metric in known() else ""
    return metric + (f" [{unit}]" if unit else "")


def _picture(
    options: argparse.Namespace, shown: Mapping[str, Sequence[Curves]], differences: Sequence[Difference], quantity: str
) -> dict[str, bytes]:
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
    final = [curves[options.metric] for curves in groups]
    return draw_report(panels, final, pairs, quantity=quantity, formats=options.formats)


def _lines_across(options: argparse.Namespace, exps: Sequence[str], metric: str) -> dict[str, float]:
    """Name the lines of the panel of `metric`; one of a single exp replaces one of all, if it is alone there."""
    lines = [line for line in [*options.lines, *options.target] if line.metric == metric and line.exp in ("", *exps)]
    lines.sort(key=lambda line: line.exp != "")
    return {f"{line.exp} {line.name}".strip() if len(exps) > 1 else line.name: line.value for line in lines}


def _pictures(
    options: argparse.Namespace, groups: Sequence[Group], differences: Sequence[Difference], quantity: str
) -> dict[str, bytes]:
    """Draw one picture of everything; with --table one per experiment, each variant in the same colour everywhere."""
    variants = sorted({group.variant for group in groups})
    shown: dict[str, list[Curves]] = {}
    for i, group in enumerate(groups):
        colour = variants.index(group.variant) if options.table else i
        curves = {metric: group_curve(group, metric, quantity, colour=colour) for metric in group.runs[0].curves}
        shown.setdefault(group.exp, []).append(curves)
    if not options.table:
        return _named("report", _picture(options, shown, differences, quantity))
    drawn: dict[str, bytes] = {}
    for exp, curves in shown.items():
        name = "report_" + re.sub(r"[^\w.-]", "_", exp)
        drawn |= _named(name, _picture(options, {exp: curves}, [], quantity))
    return drawn


def _named(name: str, drawn: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.{kind}": content for kind, content in drawn.items()}


def _over_tasks(options: argparse.Namespace, sides: Sequence[Sequence[Group]], quantity: str) -> OverTasks | None:
    """Compare the variants of a single side over all tasks, by their held-out evaluations if all have one."""
    if len(sides) > 1:
        return None
    (groups,) = sides
    held_out = quantity == "score" and all(HELD_OUT in group.samples for group in groups)
    random_play = {
        line.exp: line.value for line in options.lines if line.name == RANDOM_PLAY and line.metric == options.metric
    }
    return over_all_tasks(groups, HELD_OUT if held_out else quantity, random_play, targets(options, groups))


def targets(options: argparse.Namespace, groups: Sequence[Group]) -> dict[str, float]:
    """Find the target of every exp that has one: its own before that of all."""
    given = sorted(options.target, key=lambda line: line.exp != "")
    return {group.exp: line.value for line in given for group in groups if line.exp in ("", group.exp)}


def report(options: argparse.Namespace) -> None:
    """Read the runs, write report.md, its pictures and tables into `options.out`, and the text to standard output.

    Raises:
        UsageError: if the runs cannot be compared or the folder cannot be written; nothing is written then.
        OSError: if a file could not be written; the text stands on standard output all the same.
    """
    refuse_unwritable(options.out, "--out")
    quantity = "score" if options.metric == SCORE_METRIC else f"last {options.metric}"
    sides, pruned = _load_sides(options, quantity)
    groups = [group for side in sides for group in side]
    differences = compare(*sides) if len(sides) == 2 else []
    parts = [run_table(groups, quantity), group_table(groups)]
    if options.table:
        parts.insert(0, result_table([newest(group, quantity) for group in groups], targets(options, groups)))
    if differences:
        parts.append(difference_table(differences))
    options.lines += _random_play(options, groups)
    parts.append("".join(f"- {note}\n" for note in notes(groups, quantity, pruned)))
    pictures = _pictures(options, groups, differences, quantity)
    if found := _over_tasks(options, sides, quantity):
        parts.append(found.text())
        levels, profiles = found.profiles()
        of_tasks = {"tasks": len(found.exps), "formats": options.formats}
        pictures |= _named("report_profiles", draw_profiles(levels, profiles, found.improvements(), **of_tasks))
    text = "\n".join(parts)
    links = "\n".join(f"![Curves and final values]({name})\n" for name in pictures if name.endswith(".png"))
    tables = {"report.csv": aggregates(groups), "report.tex": latex(groups, quantity)}
    page = options.out / "report.md"
    done = "Replaced" if page.exists() else "Written"
    try:
        for name, picture in pictures.items():
            write_bytes(options.out / name, picture)
        for name, content in tables.items():
            write_text(options.out / name, content)
        write_text(page, f"# Report: {options.metric}\n\n{links}\n{text}")
    except OSError:
        write(text)
        raise
    write(f"{text}\n{done}: {', '.join(str(options.out / name) for name in (page.name, *pictures, *tables))}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; input that cannot be reported ends in `SystemExit` with code 2."""
    with command():
        report(parse(argv, __doc__))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
