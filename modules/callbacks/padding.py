"""Says when most of what is learned from is padding."""

import logging
from collections.abc import Mapping
from typing import Any

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.spec import Positive, RunConfig, Share, spec

log = logging.getLogger("recall")


@spec
class PaddingSpec(CallbackSpec):
    """Settings of the warning that rows are mostly padding.

    Attributes:
        updates: passed over, since the first episodes are often short, and then looked at, once in a run.
        share: mean share of padding in the sampled rows above which it is said.
    """

    updates: Positive
    share: Share

    def applies(self, run: RunConfig) -> bool:
        return not run.replay.on_policy

    def build(self, context: Context) -> TrainingCallback:
        return Padding(self, context.replay.settings.length)


class Padding(TrainingCallback):
    """Takes the mean over as many updates as `updates` says, behind as many others."""

    def __init__(self, settings: PaddingSpec, length: int) -> None:
        self._settings, self._length = settings, length
        self._sum, self._count = 0.0, 0

    def on_update(self, training: Training, measures: Mapping[str, Any]) -> None:
        self._count += 1
        looked_at = self._count - self._settings.updates
        if not 0 < looked_at <= self._settings.updates:
            return
        self._sum += float(measures["replay/padding"])
        mean = self._sum / looked_at
        if looked_at == self._settings.updates and mean > self._settings.share:
            log.warning(
                "%.0f %% of what is learned from is padding: episodes are shorter than replay.length=%d. Padding fills "
                "the replay too, and fewer learned steps are real than replay.ratio says. replay.length=%d would hold "
                "what is real of such a row",
                100 * mean,
                self._length,
                max(1, round(self._length * (1 - mean))),
            )

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sum, self._count = state["sum"], state["count"]
