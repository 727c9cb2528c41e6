"""What each member of a family of policies was used for and brought in, over one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.plots.figure import BLACK, EMPTY, GREY, figure_of, frames_axis, run_title, save
from modules.plots.runs import Table, read_metric, read_table_if_any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS_SHOWN = 120  # at most; more would be narrower than two pixels


def arms_over_time(run_dir: Path) -> Path | None:
    """Draw `run_dir`/arms.csv as `run_dir`/arms.png; None if there is nothing to draw.

    Three maps of arm and frames: share of the training episodes, mean return, and mean intrinsic return if there is
    one. The arm that an evaluation plays, in metrics.csv, is a line in the first.

    Raises:
        UsageError: if a file exists but is no such table.
    """
    table, metrics = read_table_if_any(run_dir / "arms.csv"), read_table_if_any(run_dir / "metrics.csv")
    if not table or not table["frames"].size:
        return None
    edges, episodes = bin_episodes(table, np.ones_like(table["frames"]))
    played = np.where(episodes > 0, episodes, np.nan)
    returns, intrinsic = (
        bin_episodes(table, table[name])[1] / played for name in ("return_mean", "intrinsic_return_mean")
    )
    maps = [
        ("Share of each arm in the training episodes (grey: none)", 100 * played / episodes.sum(0), "%"),
        ("Mean return of these episodes, undiscounted", returns, "reward"),
        ("Mean intrinsic return, undiscounted and without its weight β", intrinsic, "intrinsic reward"),
    ]
    shown = [item for item in maps if np.isfinite(item[1]).any()]
    with figure_of((9.2, 0.6 + 2.4 * len(shown))) as figure:
        figure.suptitle(run_title(run_dir), x=0.01, ha="left", fontsize=12)
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, values, unit) in zip(panels, shown, strict=True):
            axes.set_title(title)
            _map(figure, axes, edges, values, unit)
        _greedy(panels[0], metrics)
        frames_axis(panels[-1])
        return save(figure, run_dir / "arms.png")


def bin_episodes(table: Table, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up `values` [rows] times episodes, over neighbouring log events where there are too many of them.

    Returns:
        Edges of the columns in frames [columns + 1], and sums [arms, columns].
    """
    events = np.unique(table["frames"])
    # Evenly in number, not in frames: then no column is empty where evaluations make log events of their own.
    last = np.unique(np.linspace(0, len(events), min(COLUMNS_SHOWN, len(events)) + 1).astype(int)[1:]) - 1
    edges = np.concatenate(([0.0], events[last]))
    column = np.searchsorted(edges[1:], table["frames"])
    sums = np.zeros((int(table["arm"].max()) + 1, len(last)))
    np.add.at(sums, (table["arm"].astype(int), column), values * table["episodes"])
    return edges, sums


def _map(figure: Figure, axes: Axes, edges: np.ndarray, values: np.ndarray, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    arms = np.arange(len(values) + 1) - 0.5
    least = 0.0 if unit == "%" else None
    drawn = axes.pcolormesh(edges, arms, np.ma.masked_invalid(values), cmap="viridis", vmin=least, rasterized=True)
    axes.set_facecolor(EMPTY)
    axes.grid(visible=False)
    axes.set_ylabel("arm (0 exploits)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    figure.colorbar(drawn, ax=axes, label=unit, pad=0.01, aspect=12)


def _greedy(axes: Axes, metrics: Table) -> None:
    from matplotlib.patheffects import withStroke

    frames, arm = read_metric(metrics, "meta/greedy_arm")
    if not frames.size:
        return
    halo = [withStroke(linewidth=3.2, foreground="white")]
    axes.step(frames, arm, where="pre", color=BLACK, linewidth=1.2, path_effects=halo, label="arm that is evaluated")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, labelcolor=GREY)
