"""What each member of a family of policies did between two log events."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase

from modules import keys
from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.callbacks.episodes import add_ended
from modules.metrics import Means, Metric
from modules.plots.arms import arms_over_time
from modules.spec import RunConfig, spec

RETURNS = (keys.EPISODE_RETURN, keys.INTRINSIC_RETURN)


@spec
class ArmsSpec(CallbackSpec):
    """Settings of the table of arms, arms.csv, of runs with a family of policies."""

    metrics = (
        Metric("meta/arm_mean", "number", "mean number of the arm over the training episodes that ended"),
        Metric("meta/greedy_arm", "number", "the arm that an evaluation at this moment plays"),
    )
    pictures = ("arms.png",)

    def applies(self, run: RunConfig) -> bool:
        return not run.meta.single

    def build(self, context: Context) -> TrainingCallback:
        """Make the callback."""
        return Arms(context)


class Arms(TrainingCallback):
    """Counts finished episodes and adds up their undiscounted returns, arm by arm."""

    def __init__(self, context: Context) -> None:
        self._n, self._evaluator = context.n_arms, context.evaluator
        self._means = Means()
        self._episodes = torch.zeros(self._n, dtype=torch.int64)
        # float64: a mean of many returns must not depend on where a checkpoint cut the sum.
        self._sums = {key: torch.zeros(self._n, dtype=torch.float64) for key in RETURNS}

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        add_ended(self._means, batch, {"meta/arm_mean": keys.ARM})
        ended = batch["next", keys.DONE].squeeze(-1)
        arms = batch["next", keys.ARM][ended]
        self._episodes += torch.bincount(arms, minlength=self._n)
        known = batch.keys(include_nested=True)
        for key, sums in self._sums.items():
            none = torch.full(arms.shape, torch.nan)
            returns = batch["next", key].squeeze(-1)[ended] if ("next", key) in known else none
            sums += torch.bincount(arms, weights=returns.double(), minlength=self._n)

    def measures(self, training: Training) -> Mapping[str, float]:
        return self._means.take()

    def measures_after(self, training: Training) -> Mapping[str, float]:
        if rows := self.rows():
            training.logger.table("arms", training.frames, rows)
        for tensor in (self._episodes, *self._sums.values()):  # only now: on a full disk it is saved as it is
            tensor.zero_()
        return {"meta/greedy_arm": self._evaluator.greedy()}

    def rows(self) -> list[dict[str, float | None]]:
        """What each arm did that has episodes since the last log event; None where there is no intrinsic reward."""
        returns, intrinsic = ((sums / self._episodes).tolist() for sums in self._sums.values())
        columns = zip(self._episodes.tolist(), returns, intrinsic, strict=True)
        return [
            {
                "arm": arm,
                "episodes": episodes,
                "return_mean": mean,
                "intrinsic_return_mean": None if math.isnan(extra) else extra,
            }
            for arm, (episodes, mean, extra) in enumerate(columns)
            if episodes
        ]

    def draw(self, training: Training) -> list[Path]:
        picture = arms_over_time(training.run_dir)
        return [] if picture is None else [picture]

    def state_dict(self) -> dict[str, Any]:
        sums = {key: sums.clone() for key, sums in self._sums.items()}
        return {"means": self._means.state_dict(), "episodes": self._episodes.clone(), **sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._means.load_state_dict(state["means"])
        self._episodes.copy_(state["episodes"])
        for key, sums in self._sums.items():
            sums.copy_(state[key])
