"""How stale the recurrent states of the replay are, as the run continues: `modules.learner.staleness.delta_q`."""

from collections.abc import Mapping

import torch

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.metrics import Metric
from modules.replay.base import RowsLost
from modules.seeding import seed_for
from modules.spec import Positive, RunConfig, spec


@spec
class StalenessSpec(CallbackSpec):
    """Settings of the measure of stale recurrent states, of runs that replay such states.

    Attributes:
        rows: of the replay that each measurement compares; those count that do not start their episode.
    """

    metrics = (
        Metric(
            "replay/delta_q_first",
            "share",
            "staleness of the recurrent state (R2D2, section 3): ‖q̂ − q‖ / |max q̂| at the first learned step, where q "
            "saw the whole episode",
        ),
        Metric("replay/delta_q_last", "share", "the same at the last learned step"),
    )

    rows: Positive

    def applies(self, run: RunConfig) -> bool:
        return bool(run.network.state()) and not run.replay.on_policy

    def build(self, context: Context) -> TrainingCallback:
        return Staleness(self.rows, context)


class Staleness(TrainingCallback):
    """Measures at each log event, on rows drawn for that."""

    def __init__(self, rows: int, context: Context) -> None:
        self._rows, self._context = rows, context

    def measures(self, training: Training) -> Mapping[str, float]:
        """ΔQ at the first and at the last learned step; nothing while the replay is empty."""
        context = self._context
        if not len(context.replay):
            return {}
        generator = torch.Generator().manual_seed(seed_for(context.seed, "staleness", training.frames))
        try:
            return context.learner.staleness(context.replay.sample_with_prefix(self._rows, generator), context.stride)
        except RowsLost:  # with a part of the replay
            return {}
