"""Pictures of runs: the learning curve of one run, and the comparison of groups of runs.

matplotlib is imported inside the functions that draw: a training should not wait for it at its start.
Colours: Okabe and Ito (2008), distinct for colour-blind readers; line styles differ as well.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modules.runs import SeedCurve, Table, measured, read_table
from modules.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE = "#CC79A7", "#56B4E9", "#E69F00"
BLACK, GREY = "#000000", "#666666"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
FRAMES_LABEL = "environment frames"


@dataclass(frozen=True, kw_only=True)
class GroupCurve:
    """Runs of one kind; `mean` and `iqm` are [G, 3] (value, low, high) on `grid` [G] frames, G may be 0."""

    label: str
    colour: int  # index; the same kind has the same colour in every picture
    seeds: Sequence[SeedCurve]
    grid: np.ndarray
    mean: np.ndarray
    iqm: np.ndarray
    final_mean: Estimate
    final_iqm: Estimate


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Axes with one statistic of all groups' curves, named `lines` across, and the label of the vertical axis."""

    label: str
    groups: Sequence[GroupCurve]
    statistic: Literal["mean", "iqm"]
    lines: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What separates the runs of group A from those of group B; `improvement` is P(A > B)."""

    label: str
    quantity: str
    mean: Estimate
    iqm: Estimate
    improvement: Estimate


def learning_curve(run_dir: Path) -> Path | None:
    """Draw `run_dir`/metrics.csv as `run_dir`/learning_curve.png; None if there is nothing to draw.

    Raises:
        UsageError: if metrics.csv exists but is no table of metrics.
    """
    source = run_dir / "metrics.csv"
    table = read_table(source) if source.exists() else {}
    shown = ("eval/return_mean", "train/return_mean", "loss/q", "train/epsilon")
    if not any(measured(table, metric)[0].size for metric in shown):
        return None
    with _figure((8.0, 5.6)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.set_title(_run_title(run_dir), pad=24)  # points: the legend is between
        _draw_returns(top, table)
        _draw_loss(bottom, table)
        picture = _png(figure)
    target = run_dir / "learning_curve.png"
    target.write_bytes(picture)
    return target


def draw_report(
    curves: Sequence[Panel], groups: Sequence[GroupCurve], differences: Sequence[Difference], *, quantity: str
) -> bytes:
    """Draw the `curves`, the final values of `groups` and the `differences` of `quantity`; return the PNG."""
    rows = [len(groups)] + [len(differences)] * bool(differences)
    heights = (3.9, sum(0.9 + 0.42 * n for n in rows))
    with _figure((11.0, sum(heights))) as figure:
        upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=heights))
        same = len({panel.label for panel in curves}) == 1
        panels = upper.subplots(1, len(curves), sharex=True, sharey=same, squeeze=False)[0]
        for i, (axes, panel) in enumerate(zip(panels, curves, strict=True)):
            _draw_curves(axes, panel.groups, panel.statistic)
            _draw_lines(axes, panel.lines)
            axes.set_ylabel("" if same and i else panel.label)
        handles, labels = panels[0].get_legend_handles_labels()
        upper.legend(handles, labels, loc="outside lower center", ncols=max(1, min(4, len(labels))))
        below = lower.subplots(len(rows), 1, squeeze=False, height_ratios=[n + 1 for n in rows])[:, 0]
        _draw_final(below[0], groups, quantity)
        if differences:
            _draw_differences(below[1], differences, quantity)
        return _png(figure)


@contextmanager
def _figure(size_inch: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure in our style, without pyplot and its global state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size_inch, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the version of matplotlib in the file, equal numbers give equal bytes.
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _run_title(run_dir: Path) -> str:
    try:
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
        return f"{summary['exp']}, memory {summary['memory']}, seed {summary['seed']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # A title is a courtesy: the curve of a run without a summary is drawn all the same.


def _frames_axis(axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel(FRAMES_LABEL)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))


def _draw_returns(axes: Axes, table: Table) -> None:
    frames, values = measured(table, "train/return_mean")
    if frames.size:
        axes.plot(frames, values, color=ORANGE, linewidth=1.0, label="training, exploring (mean)")
    frames, values = measured(table, "eval/return_mean")
    if frames.size:
        style = {"color": BLUE, "linewidth": 1.8, "marker": "o", "markersize": 3.5}
        axes.plot(frames, values, label="greedy evaluation (mean)", **style)
    low_at, low = measured(table, "eval/return_min")
    high_at, high = measured(table, "eval/return_max")
    if low_at.size and np.array_equal(low_at, high_at) and not np.array_equal(low, high):
        label = "greedy evaluation (min to max)"
        axes.fill_between(low_at, low, high, color=BLUE, alpha=0.18, linewidth=0, label=label)
    axes.set_ylabel("return per episode [reward]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)  # above, not on, the data


def _draw_loss(axes: Axes, table: Table) -> None:
    _frames_axis(axes)
    frames, values = measured(table, "loss/q")
    axes.plot(frames, values, color=PURPLE, linewidth=1.0, label="loss")
    if frames.size:
        _loss_axis(axes, values.min(), values.max())
    axes.set_ylabel("loss")
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    right.plot(*measured(table, "train/epsilon"), color=GREEN, linewidth=1.4, linestyle="--", label="ε")
    right.set_ylim(-0.03, 1.03)
    right.set_ylabel("exploration ε")
    handles = [*axes.get_lines(), *right.get_lines()]
    right.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.0)


def _loss_axis(axes: Axes, low: float, high: float) -> None:
    """Make the axis logarithmic if the values from `low` to `high` span much, with three to six ticks among them."""
    from matplotlib.ticker import FixedLocator, NullLocator

    if low <= 0 or high < 10 * low:
        return
    axes.set_yscale("log")
    # matplotlib's own ticks overlap in so low a panel, or are too few.
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [((1, 2, 5), 1), ((1, 3), 1)] + [((1,), every) for every in range(1, len(decades) + 1)]
    choices = ([d * 10.0**e for e in decades if e % every == 0 for d in digits] for digits, every in steps)
    ticks = next(ticks for ticks in choices if sum(low <= tick <= high for tick in ticks) <= 6)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_curves(axes: Axes, groups: Sequence[GroupCurve], statistic: str) -> None:
    name = {"mean": "Mean", "iqm": "Interquartile mean"}[statistic]
    axes.set_title(f"{name} with 95 % band (thin lines: single runs)")
    _frames_axis(axes)
    for group in groups:
        colour = COLOURS[group.colour % len(COLOURS)]
        for seed in group.seeds:
            unfinished = {"linestyle": ":", "marker": "x", "markevery": [-1], "alpha": 0.8}
            style = {"linestyle": "-", "alpha": 0.35} if seed.finished else unfinished
            if seed.frames.size:
                axes.plot(seed.frames, seed.values, color=colour, linewidth=0.7, **style)
        value, low, high = (group.mean if statistic == "mean" else group.iqm).T
        style = {"linewidth": 1.9, "linestyle": LINES[group.colour % len(LINES)], "markersize": 3.5}
        style["marker"] = "o" if group.grid.size < 30 else ""  # a single measurement makes no line
        axes.plot(group.grid, value, color=colour, label=f"{group.label} (n = {len(group.seeds)})", **style)
        axes.fill_between(group.grid, low, high, color=colour, alpha=0.18, linewidth=0)
    if _any_unfinished(groups):
        axes.plot([], [], color=GREY, linewidth=0.7, linestyle=":", marker="x", label="unfinished run")


def _draw_lines(axes: Axes, lines: Mapping[str, float]) -> None:
    for i, (name, value) in enumerate(sorted(lines.items(), key=lambda line: line[1])):
        axes.axhline(value, color=GREY, linewidth=1.2, linestyle=(0, (6, 3)))
        # The lowest name below its line and the others above, on the left and right in turn: close ones stay apart.
        beside = {"ha": ("left", "right")[i % 2], "va": "bottom" if i else "top", "fontsize": 8, "color": GREY}
        offset = {"xytext": (0, 2 if i else -2), "textcoords": "offset points"}
        axes.annotate(f" {name} {value:g} ", (i % 2, value), xycoords=axes.get_yaxis_transform(), **beside, **offset)


def _draw_final(axes: Axes, groups: Sequence[GroupCurve], quantity: str) -> None:
    axes.set_xlabel(f"{quantity} of each run, and 95 % intervals over runs")
    means = [group.final_mean.value for group in groups]
    results = [f"mean {value:.4g}" if np.isfinite(value) else "no value yet" for value in means]
    _rows(axes, [group.label for group in groups], results)
    for i, group in enumerate(groups):
        colour = COLOURS[group.colour % len(COLOURS)]
        for seed in group.seeds:
            marker = "|" if seed.finished else "x"
            axes.plot(seed.final, i, marker=marker, color=colour, alpha=0.8, markersize=7)
        _interval(axes, i - 0.25, group.final_mean, colour, face=colour, marker="D")
        if sum(math.isfinite(seed.final) for seed in group.seeds) >= 4:  # below four it is the mean
            _interval(axes, i + 0.25, group.final_iqm, colour, face="white", marker="o")
    _interval_legend(axes, {"one run": "|"} | ({"unfinished run": "x"} if _any_unfinished(groups) else {}))


def _any_unfinished(groups: Sequence[GroupCurve]) -> bool:
    return any(not seed.finished for group in groups for seed in group.seeds)


def _draw_differences(axes: Axes, differences: Sequence[Difference], quantity: str) -> None:
    axes.set_xlabel(f"difference of {quantity}, A − B, and 95 % intervals")
    names = [item.label.replace(" − ", "\n− ") for item in differences]
    _rows(axes, names, [f"P(A > B) = {item.improvement.value:.2f}" for item in differences])
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    for i, item in enumerate(differences):
        _interval(axes, i - 0.15, item.mean, BLACK, face=BLACK, marker="D")
        _interval(axes, i + 0.15, item.iqm, BLACK, face="white", marker="o")
    _interval_legend(axes, {})


def _interval(axes: Axes, y: float, estimate: Estimate, colour: str, *, face: str, marker: str) -> None:
    axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(estimate.value, y, marker=marker, color=colour, markerfacecolor=face, markersize=6)


def _rows(axes: Axes, labels: Sequence[str], results: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    for i, result in enumerate(results):
        axes.annotate(result, (1.01, i), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)


def _interval_legend(axes: Axes, runs: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        ("mean", "D", GREY),
        ("IQM", "o", "white"),
        *((name, marker, GREY) for name, marker in runs.items()),
    ]
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=GREY, markerfacecolor=face, label=name)
        for name, marker, face in entries
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.0)
