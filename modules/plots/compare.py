"""The comparison of groups of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modules.plots.figure import BLACK, COLOURS, GREY, LINES, drawn_as, figure_of, frames_axis
from modules.plots.runs import SeedCurve
from modules.plots.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CARRIED: Mapping[str, Any] = {"linewidth": 0.9, "linestyle": (0, (1, 2)), "marker": "|", "markevery": [0], "alpha": 0.8}


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


def draw_report(
    curves: Sequence[Panel],
    groups: Sequence[GroupCurve],
    differences: Sequence[Difference],
    *,
    quantity: str,
    formats: Sequence[str],
) -> dict[str, bytes]:
    """Draw the `curves`, the final values of `groups` and the `differences` of `quantity`, in each of the `formats`."""
    rows = [len(groups)] + [len(differences)] * bool(differences)
    heights = (3.9, sum(0.9 + 0.42 * n for n in rows))
    with figure_of((11.0, sum(heights))) as figure:
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
        return {kind: drawn_as(figure, kind) for kind in formats}


def _draw_curves(axes: Axes, groups: Sequence[GroupCurve], statistic: str) -> None:
    name = {"mean": "Mean", "iqm": "Interquartile mean"}[statistic]
    band = " with 95 % band" if any(len(group.seeds) > 1 for group in groups) else ""
    axes.set_title(f"{name}{band} (thin lines: single runs)")
    frames_axis(axes)
    for group in groups:
        colour = COLOURS[group.colour % len(COLOURS)]
        for seed in group.seeds:
            unfinished = {"linestyle": ":", "marker": "x", "markevery": [-1], "alpha": 0.8}
            style = {"linestyle": "-", "alpha": 0.35} if seed.finished else unfinished
            if seed.frames.size:
                axes.plot(seed.frames, seed.values, color=colour, linewidth=0.7, **style)
            if _is_carried(seed, group):
                ends = [seed.frames[-1], group.grid[-1]]
                axes.plot(ends, [seed.values[-1]] * 2, color=colour, **CARRIED)
        value, low, high = (group.mean if statistic == "mean" else group.iqm).T
        style = {"linewidth": 1.9, "linestyle": LINES[group.colour % len(LINES)], "markersize": 3.5}
        style["marker"] = "o" if group.grid.size < 30 else ""  # a single measurement makes no line
        axes.plot(group.grid, value, color=colour, label=f"{group.label} (n = {len(group.seeds)})", **style)
        axes.fill_between(group.grid, low, high, color=colour, alpha=0.18, linewidth=0)
    if any(_is_carried(seed, group) for group in groups for seed in group.seeds):
        axes.plot([], [], color=GREY, label="stopped early, last value carried on", **CARRIED)
    if _any_unfinished(groups):
        axes.plot([], [], color=GREY, linewidth=0.7, linestyle=":", marker="x", label="unfinished run")


def _is_carried(seed: SeedCurve, group: GroupCurve) -> bool:
    return bool(seed.stopped_early and seed.frames.size and group.grid.size and seed.frames[-1] < group.grid[-1])


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

    faces = {"IQM": "white"}
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=GREY, markerfacecolor=faces.get(name, GREY), label=name)
        for name, marker in {"mean": "D", "IQM": "o", **runs}.items()
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.0)
