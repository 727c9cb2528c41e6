"""How fast a run is, and what it spends its time on."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tensordict import TensorDictBase

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.evaluation import Episodes
from modules.metrics import Metric
from modules.spec import spec

PHASES = ("collect", "learn", "eval")


@spec
class TimingSpec(CallbackSpec):
    """Settings of the timing; what it measures stands in timing.csv."""

    metrics = (
        Metric(
            "perf/frames_per_s", "frames/s", "frames collected since the last log event / time since then", timing=True
        ),
        Metric("perf/updates_per_s", "1/s", "updates since the last log event / time since then", timing=True),
        Metric("perf/collect_share", "share", "share of that time spent on acting", timing=True),
        Metric("perf/learn_share", "share", "share of that time spent on sampling and learning", timing=True),
        Metric("perf/eval_share", "share", "share of that time spent on evaluation", timing=True),
        Metric("perf/wall_s", "s", "wall time of the run so far", timing=True),
    )

    def build(self, context: Context) -> TrainingCallback:
        return Timing()


class Timing(TrainingCallback):
    """Counts the time before each event as spent on what the event ends."""

    def on_start(self, training: Training) -> None:
        self._busy_s = dict.fromkeys(PHASES, 0.0)
        self._event_s = time.perf_counter()
        self._row = (training.frames, training.updates, self._event_s)  # at the last log event

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        self._spent("collect")

    def on_update(self, training: Training, measures: Mapping[str, Any]) -> None:
        self._spent("learn")

    def on_evaluation(self, training: Training, episodes: Episodes) -> None:
        self._spent("eval")

    def on_checkpoint(self, training: Training, path: Path) -> None:
        self._event_s = time.perf_counter()

    def measures_after(self, training: Training) -> Mapping[str, float]:
        (frames, updates, began_s), busy_s = self._row, self._busy_s
        self.on_start(training)
        seconds = self._event_s - began_s
        return {
            "perf/frames_per_s": (training.frames - frames) / seconds,
            "perf/updates_per_s": (training.updates - updates) / seconds,
            **{f"perf/{phase}_share": spent_s / seconds for phase, spent_s in busy_s.items()},
            "perf/wall_s": training.wall_s,
        }

    def _spent(self, phase: Literal["collect", "learn", "eval"]) -> None:
        now = time.perf_counter()
        self._busy_s[phase] += now - self._event_s
        self._event_s = now
