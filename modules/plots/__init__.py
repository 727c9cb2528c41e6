"""Pictures of runs: what one run learned, played, saw and visited, and the comparison of groups of runs."""

from modules.plots.arms import arms_over_time
from modules.plots.compare import Difference, GroupCurve, Panel, draw_report
from modules.plots.curve import curve_figure, learning_curve
from modules.plots.episodes import episodes_over_steps
from modules.plots.visits import visits_map

__all__ = [
    "Difference",
    "GroupCurve",
    "Panel",
    "arms_over_time",
    "curve_figure",
    "draw_report",
    "episodes_over_steps",
    "learning_curve",
    "visits_map",
]
