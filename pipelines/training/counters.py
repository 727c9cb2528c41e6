"""What the loop counts, and by which of it a run ends early."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.config.schema import RunConfig


@dataclass
class Counters:
    """What the loop must remember, besides its parts, to continue exactly."""

    frames: int = 0
    episodes: int = 0
    restarts: int = 0  # how often the environments were started afresh; selects their seed
    updates_due: float = 0.0  # optimiser steps that collected frames still call for
    wall_s: float = 0.0
    evaluated_at: int = -1  # frames
    row: dict[str, float] | None = None  # of metrics, that is still to be logged
    evaluation_due: bool = False  # it lacks the evaluation
    score: dict[str, float] = field(default_factory=dict)  # the last evaluation
    best_score: float | None = None


# Returns are sums in float64, in which 200 000 times 0.1 is wrong by 1e-8. But the small worlds give their rewards in
# float32, in which 0.1 is 1.5e-9 too large, some hundred times an episode.
EXACT = 1e-6


def reached_goal(run: RunConfig, score: Mapping[str, float], episodes: int = 0) -> str:
    """Name the setting by which the run has come to its end early; "" if none.

    Args:
        run: its settings.
        score: of the last evaluation; empty if there was none.
        episodes: that ended in training.
    """
    if run.stop_at_episodes is not None and episodes >= run.stop_at_episodes:
        return f"stop_at_episodes={run.stop_at_episodes}"
    if score and run.stop_at_score is not None and score["eval/return_mean"] >= run.stop_at_score - EXACT:
        return f"stop_at_score={run.stop_at_score}"
    if score and run.stop_at_length is not None and score["eval/length_mean"] <= run.stop_at_length + EXACT:
        return f"stop_at_length={run.stop_at_length}"
    return ""
