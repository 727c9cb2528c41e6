"""Returns and lengths of training's episodes."""

import statistics
from collections.abc import Mapping
from typing import Any

from tensordict import TensorDictBase
from torch import Tensor

from modules import keys
from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.metrics import Means, Metric
from modules.spec import Positive, spec


@spec
class EpisodesSpec(CallbackSpec):
    """Settings of the statistics of training's episodes.

    Attributes:
        recent: episodes of the running mean.
    """

    metrics = (
        Metric(
            "train/return_mean",
            "reward",
            "mean undiscounted return of the training episodes that ended since the last log event",
        ),
        Metric(
            "train/return_mean_50",
            "reward",
            "mean undiscounted return of the last training episodes, callbacks.episodes.recent of them (50), or all",
        ),
        Metric("train/length_mean", "frames", "mean length of the same episodes"),
        Metric("train/episodes", "count", "training episodes ended so far"),
    )

    recent: Positive

    def build(self, context: Context) -> TrainingCallback:
        return Episodes(self.recent)


class Episodes(TrainingCallback):
    """Means over the episodes that ended."""

    def __init__(self, recent: int) -> None:
        self._means, self._recent, self._returns = Means(), recent, []

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        add_ended(self._means, batch, {"train/return_mean": keys.EPISODE_RETURN, "train/length_mean": keys.STEP_COUNT})
        done = batch["next", keys.DONE][..., 0].T  # [T, N], so that the last is last
        self._returns += batch["next", keys.EPISODE_RETURN][..., 0].T[done].tolist()
        del self._returns[: -self._recent]

    def measures(self, training: Training) -> Mapping[str, float]:
        recent = {"train/return_mean_50": statistics.fmean(self._returns)} if self._returns else {}
        return {**self._means.take(), **recent, "train/episodes": training.episodes}

    def state_dict(self) -> dict[str, Any]:
        return {"means": self._means.state_dict(), "returns": list(self._returns)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._means.load_state_dict(state["means"])
        self._returns = list(state["returns"])


def add_ended(means: Means, batch: TensorDictBase, entries: Mapping[str, str]) -> None:
    """Add to `means` what stands in the `entries`, by metric, at the steps of a batch [N, T] that end an episode."""
    done: Tensor = batch["next", keys.DONE]
    if ended := int(done.sum()):
        values = {metric: batch["next", key] for metric, key in entries.items()}
        means.add({metric: value[done.reshape(value.shape)].sum() for metric, value in values.items()}, ended)
