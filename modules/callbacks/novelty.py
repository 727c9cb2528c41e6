"""Intrinsic rewards of training's steps and episodes."""

from collections.abc import Mapping
from typing import Any

from tensordict import TensorDictBase

from modules import keys
from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.callbacks.episodes import add_ended
from modules.metrics import Means, Metric
from modules.spec import RunConfig, spec


@spec
class NoveltySpec(CallbackSpec):
    """Settings of the statistics of intrinsic rewards, of runs that have them."""

    metrics = (
        Metric(
            "train/intrinsic_return_mean",
            "intrinsic reward",
            "mean sum of the intrinsic rewards, neither weighted nor discounted, of the training episodes that ended",
        ),
    )

    def applies(self, run: RunConfig) -> bool:
        return run.intrinsic.rewards

    def build(self, context: Context) -> TrainingCallback:
        return Novelty(context)


class Novelty(TrainingCallback):
    """Means over steps and over the episodes that ended."""

    def __init__(self, context: Context) -> None:
        self._means, self._of_steps = Means(), context.intrinsic

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        self._means.add(self._of_steps())
        add_ended(self._means, batch, {"train/intrinsic_return_mean": keys.INTRINSIC_RETURN})

    def measures(self, training: Training) -> Mapping[str, float]:
        return self._means.take()

    def state_dict(self) -> dict[str, Any]:
        return self._means.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._means.load_state_dict(state)
