"""Where the training of one run has been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.plots.figure import BLACK, EMPTY, figure_of, run_title, save

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

SIDE, WIDE = 6.5, 9.2  # inch: of a square map, of a flat one


def visits_map(run_dir: Path, counts: np.ndarray, goals: Sequence[tuple[int, int]] = ()) -> Path | None:
    """Draw how often each cell was visited, `counts` [rows, columns], as `run_dir`/visits.png; None if none ever was.

    Colours span what was counted, logarithmically if that is much; grey cells were never visited, whether they can be
    reached or not. Stars are the `goals` (row, column).
    """
    from matplotlib.ticker import MaxNLocator, NullLocator

    total = int(counts.sum())
    if not total:
        return None
    rows, columns = counts.shape
    # Squares where that gives a picture of a usual shape, else cells as high as can be read.
    square = 0.3 < rows / columns < 3
    cell = SIDE / max(rows, columns)
    width, height = (cell * columns + 1.6, cell * rows) if square else (WIDE, min(0.4 + 0.4 * rows, SIDE))
    with figure_of((width, height + 1.1)) as figure:
        axes = figure.subplots()
        reached = np.count_nonzero(counts)
        grey = " (grey: never)" if reached < counts.size else ""
        found = f"{total:,} visits over the training, {reached} of {counts.size} cells{grey}"
        axes.set_title(f"{run_title(run_dir)}\n{found}")
        aspect = "equal" if square else "auto"
        seen = np.ma.masked_equal(counts, 0)
        norm = colours_of(int(seen.min()), int(seen.max()))
        shown = axes.imshow(seen, cmap="viridis", norm=norm, aspect=aspect, interpolation="none")
        if goals:
            down, across = zip(*goals, strict=True)
            star = {"marker": "*", "s": 110, "facecolor": "white", "edgecolor": BLACK, "linewidth": 0.9}
            axes.scatter(across, down, label="pays", clip_on=False, zorder=3, **star)
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, handletextpad=0.2)
        axes.set_facecolor(EMPTY)
        axes.grid(visible=False)
        axes.set_xlabel("column" if rows > 1 else "cell")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(rows, 9)) if rows > 1 else NullLocator())
        axes.set_ylabel("row" if rows > 1 else "")
        figure.colorbar(shown, ax=axes, label="visits", pad=0.01)
        return save(figure, run_dir / "visits.png")


def colours_of(low: int, high: int) -> Normalize:
    """Spread the colours over counts from `low` to `high`, by their logarithm if that is ten times as much."""
    from matplotlib.colors import LogNorm, Normalize

    return LogNorm(low, high) if high >= 10 * low else Normalize(low, max(high, low + 1))
