"""Many tasks at once: performance profiles and probabilities of improvement.

Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", section 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modules.plots.figure import BLACK, COLOURS, LINES, drawn_as, figure_of
from modules.plots.statistics import Estimate


def draw_profiles(
    levels: np.ndarray,
    profiles: Mapping[str, np.ndarray],
    improvements: Mapping[str, Estimate],
    *,
    tasks: int,
    formats: Sequence[str],
) -> dict[str, bytes]:
    """Draw the profile [L, 3] (value, low, high) of each variant at the `levels` [L], and P(A > B) of each pair."""
    height = max(3.6, 1.2 + 0.45 * len(improvements))
    with figure_of((11.0, height)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for i, (name, (value, low, high)) in enumerate((name, found.T) for name, found in profiles.items()):
            colour = COLOURS[i % len(COLOURS)]
            left.plot(levels, value, color=colour, linestyle=LINES[i % len(LINES)], linewidth=1.9, label=name)
            left.fill_between(levels, low, high, color=colour, alpha=0.18, linewidth=0)
        band = ", with 95 % band" if any(np.isfinite(found).all() for found in profiles.values()) else ""
        left.set_title(f"Performance profile over {tasks} tasks{band}")
        left.set_xlabel("normalised score τ")
        left.set_ylabel("share of runs above τ")
        left.set_ylim(-0.02, 1.02)
        left.legend()
        for i, item in enumerate(improvements.values()):
            right.plot([item.low, item.high], [i, i], color=BLACK, linewidth=2.2, solid_capstyle="butt")
            right.plot(item.value, i, marker="D", color=BLACK, markersize=6)
        right.set_yticks(range(len(improvements)), [name.replace(" > ", "\n> ") for name in improvements])
        right.set_ylim(len(improvements) - 0.5, -0.5)
        right.set_xlim(-0.02, 1.02)
        right.axvline(0.5, color=BLACK, linewidth=0.8)
        right.grid(visible=False, axis="y")
        right.set_title("Probability of improvement")
        right.set_xlabel("P(A > B), mean over tasks, and 95 % intervals")
        return {kind: drawn_as(figure, kind) for kind in formats}
