"""What an agent saw over the steps of a few episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modules.plots.figure import COLOURS, LINES, figure_of, run_title, save


def episodes_over_steps(run_dir: Path, observations: Sequence[np.ndarray], returns: Sequence[float]) -> Path:
    """Draw each number of the observations over the steps as `run_dir`/episodes.png, one line per episode.

    `observations` has one [steps + 1, size] for each episode, `returns` what the legend says of it, undiscounted.
    """
    from matplotlib.ticker import MaxNLocator

    size = observations[0].shape[1]
    with figure_of((9.2, 1.2 + 1.7 * size)) as figure:
        title = f"Observations over {len(observations)} greedy episodes"
        figure.suptitle(f"{run_title(run_dir)}\n{title}".lstrip(), x=0.01, ha="left", fontsize=11)
        panels = figure.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
        for entry, axes in enumerate(panels):
            for episode, (seen, episode_return) in enumerate(zip(observations, returns, strict=True)):
                axes.plot(
                    seen[:, entry],
                    color=COLOURS[episode % len(COLOURS)],
                    linestyle=LINES[episode // len(COLOURS) % len(LINES)],
                    linewidth=1.2,
                    label=f"episode {episode}, return {episode_return:.4g}",
                )
            axes.set_ylabel(f"observation {entry}" if size > 1 else "observation")
        panels[-1].set_xlabel("step of the episode")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
        return save(figure, run_dir / "episodes.png")
