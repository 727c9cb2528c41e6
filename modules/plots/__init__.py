"""Pictures of runs: what one run learned, played and visited, and the comparison of groups of runs."""

from modules.plots.arms import arms_over_time
from modules.plots.compare import Difference, GroupCurve, Panel, draw_report
from modules.plots.curve import learning_curve
from modules.plots.visits import visits_map

__all__ = ["Difference", "GroupCurve", "Panel", "arms_over_time", "draw_report", "learning_curve", "visits_map"]
