"""Pictures of a study: which values its trials had, and which settings mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.plots.figure import BLUE, GREY, figure_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALUE = "return"  # name of the last axis
TINY = 1e-12


@dataclass(frozen=True)
class Trial:
    """One trial: its settings, and the mean return over its seeds, None if it was pruned."""

    params: Mapping[str, float | str]
    value: float | None


@dataclass(frozen=True)
class Scale:
    """One vertical axis: where a value lies on it, from 0 to 1, and what is written beside it."""

    places: Mapping[str, float]  # of choices; empty for numbers
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: float | str) -> float:
        """Where a value lies."""
        if self.places:
            return self.places[str(value)]
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, float(value)))
        return 0.5 if high - low < TINY else (at - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Where something is written, and what."""
        if self.places:
            return [(at, name) for name, at in self.places.items()]
        if self.high - self.low < TINY:
            return [(0.5, f"{self.low:.3g}")]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [(self.place(value), f"{value:.3g}") for value in (self.low, middle, self.high)]


def scale_of(values: Sequence[float | str], *, log: bool) -> Scale:
    """Make the axis of what trials had."""
    if any(isinstance(value, str) for value in values):
        names = sorted({str(value) for value in values})
        return Scale({name: i / (len(names) - 1) if len(names) > 1 else 0.5 for i, name in enumerate(names)})
    numbers = [float(value) for value in values]
    return Scale({}, min(numbers), max(numbers), log=log and min(numbers) > 0)


def parallel_coordinates(trials: Sequence[Trial], logarithmic: Sequence[str], path: Path) -> Path:
    """Draw one line per trial through its settings to its return; pruned ones are grey and dashed, and reach none."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    names = list(trials[0].params)
    whole = [trial.value for trial in trials if trial.value is not None]
    scales = [scale_of([trial.params[name] for trial in trials], log=name in logarithmic) for name in names]
    scales += [scale_of(whole, log=False)] if whole else []
    colour = ScalarMappable(Normalize(min(whole, default=0), max(whole, default=1)), "viridis_r")
    with figure_of((1.9 * (len(scales) + 1), 4.2)) as figure:
        axes = figure.subplots()
        for trial in sorted(trials, key=lambda trial: -math.inf if trial.value is None else trial.value):
            values = [trial.params[name] for name in names] + ([] if trial.value is None else [trial.value])
            heights = [scale.place(value) for scale, value in zip(scales, values, strict=False)]
            if trial.value is None:
                axes.plot(range(len(heights)), heights, color=GREY, linewidth=0.8, linestyle="--", alpha=0.6)
            else:
                axes.plot(range(len(heights)), heights, color=colour.to_rgba(np.array(trial.value)), linewidth=1.6)
        _draw_scales(axes, [*names, VALUE][: len(scales)], scales)
        pruned = sum(trial.value is None for trial in trials)
        axes.set_title(f"{len(trials)} trials, {pruned} of them pruned (dashed); darker is better", pad=26)
        return save(figure, path)


def _draw_scales(axes: Axes, names: Sequence[str], scales: Sequence[Scale]) -> None:
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.25, len(names) - 0.45)
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.0}
    for x, scale in enumerate(scales):
        axes.axvline(x, color=GREY, linewidth=1.0, zorder=1)
        for height, text in scale.ticks():
            axes.plot([x - 0.02, x + 0.02], [height, height], color=GREY, linewidth=1.0)
            axes.text(x + 0.05, height, text, va="center", fontsize=9, bbox=white, zorder=5)


def importances(shares: Mapping[str, float], path: Path) -> Path:
    """Draw the share of each setting in what made returns differ."""
    names = sorted(shares, key=lambda name: shares[name])
    with figure_of((6.4, 1.1 + 0.45 * len(names))) as figure:
        axes = figure.subplots()
        widths = np.array([shares[name] for name in names])
        bars = axes.barh(names, widths, color=BLUE, height=0.6)
        axes.bar_label(bars, [f"{width:.2f}" for width in widths], padding=4, fontsize=9)
        axes.set_xlim(0, max(1.12 * widths.max(initial=0), TINY))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of importance (PED-ANOVA)")
        axes.set_title("Which settings the return depended on")
        return save(figure, path)
