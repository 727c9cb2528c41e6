"""The learning curve of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.metrics import SCORE
from modules.plots.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, figure_of, frames_axis, run_title, save
from modules.plots.runs import SUMMARY, Table, read_json, read_metric, read_table_if_any
from modules.spec import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE = "learning_curve.png"
# Of which a run has one → its name, and what its axis shows at least.
EXPLORATION = {"train/epsilon": ("exploration ε", 1.0), "train/temperature": ("temperature", 0.0)}


def learning_curve(run_dir: Path) -> Path | None:
    """Write what `curve_figure` draws, or refuses, as `run_dir`/learning_curve.png; None if there is nothing."""
    figure = curve_figure(run_dir)
    return None if figure is None else save(figure, run_dir / CURVE)


def curve_figure(run_dir: Path) -> Figure | None:
    """Draw `run_dir`/metrics.csv; None if there is nothing to draw.

    Raises:
        UsageError: if metrics.csv exists but is no table of metrics.
    """
    table = read_table_if_any(run_dir / "metrics.csv")
    shown = (SCORE, "train/return_mean", _loss_of(table), *EXPLORATION)
    if not any(read_metric(table, metric)[0].size for metric in shown):
        return None
    with figure_of((8.0, 5.6)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.set_title(run_title(run_dir), pad=40)  # points: the legend is between
        _draw_returns(top, table)
        _draw_loss(bottom, table)
        if said := "\n".join(_caveats(run_dir, table)):
            figure.supxlabel(said, x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def _caveats(run_dir: Path, table: Table) -> Iterator[str]:
    """Say what the two kinds of returns are of, so that nobody compares what differs."""
    with suppress(UsageError):  # a run without a summary does not say how it was evaluated
        if read_metric(table, SCORE)[0].size and read_json(run_dir / SUMMARY).get("ema_decay"):
            yield "Greedy evaluations are of averaged weights (optim.ema_decay)."
    if read_metric(table, "train/return_mean")[0].size:
        yield "The first training returns are of short episodes only: longer ones have not ended yet."


def _loss_of(table: Table) -> str:
    """Name the first column of the losses, which is the loss itself."""
    return next((name for name in table if name.startswith("loss/")), "loss/q")


def _draw_returns(axes: Axes, table: Table) -> None:
    frames, values = read_metric(table, "train/return_mean")
    if frames.size:
        axes.plot(frames, values, color=ORANGE, linewidth=1.0, label="training, exploring (mean)")
    frames, values = read_metric(table, "train/return_mean_50")
    if frames.size:
        axes.plot(frames, values, color=VERMILLION, linewidth=1.4, label="last 50 training episodes")
    frames, values = read_metric(table, SCORE)
    if frames.size:
        style = {"color": BLUE, "linewidth": 1.8, "marker": "o", "markersize": 3.5}
        axes.plot(frames, values, label="greedy evaluation (mean)", **style)
    low_at, low = read_metric(table, "eval/return_min")
    high_at, high = read_metric(table, "eval/return_max")
    if low_at.size and np.array_equal(low_at, high_at) and not np.array_equal(low, high):
        label = "greedy evaluation (min to max)"
        axes.fill_between(low_at, low, high, color=BLUE, alpha=0.18, linewidth=0, label=label)
    axes.set_ylabel("return per episode [reward]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)  # above, not on, the data


def _draw_loss(axes: Axes, table: Table) -> None:
    frames_axis(axes)
    frames, values = read_metric(table, _loss_of(table))
    axes.plot(frames, values, color=PURPLE, linewidth=1.0, label="loss")
    if frames.size:
        _loss_axis(axes, values.min(), values.max())
    axes.set_ylabel("loss")
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    for metric, (name, least) in EXPLORATION.items():
        frames, values = read_metric(table, metric)
        if frames.size:
            right.plot(frames, values, color=GREEN, linewidth=1.4, linestyle="--", label=name)
            top = max(least, values.max())
            right.set_ylim(-0.03 * top, 1.03 * top)
            right.set_ylabel(name)
    if not right.get_lines():
        right.set_axis_off()
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
