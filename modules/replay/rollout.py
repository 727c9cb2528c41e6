"""No replay: rows of the newest steps, learned from a few times and forgotten."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from tensordict import TensorDict

from modules.replay.base import ReplayContext, ReplaySpec
from modules.replay.on_policy import FreshRows
from modules.spec import Count, Positive, RunConfig, UsageError, spec


@spec
class RolloutSpec(ReplaySpec):
    """Settings of rollouts: the newest rows are learned from together, in several epochs, as those of PQN and PPO are.

    Attributes:
        length: steps of a row, T, at most those of the longest episode; a row is shorter where its episode ends. 0
            stands for whole episodes.
        rollout_rows: rows of a rollout; those that end in the same batch of steps come along.
        batch_rows: rows of an update. Each epoch shuffles the rows of the rollout, and those that are left over at its
            end are not learned from in it.
        epochs: how often a rollout is gone through.
    """

    on_policy = True
    burn_in = 0  # the state that is stored with a row is nearly the one that the newest network would have

    length: Count
    rollout_rows: Positive
    batch_rows: Positive
    epochs: Positive

    @property
    def capacity_rows(self) -> int:
        return self.rollout_rows

    def needs(self, run: RunConfig) -> Iterator[str]:
        if self.rollout_rows < self.batch_rows:
            yield f"replay.batch_rows={self.batch_rows} must not exceed replay.rollout_rows={self.rollout_rows}"
        if run.loss.on_policy:
            yield (
                "replay=rollout cuts episodes into rows, and this loss learns from whole ones, once: use "
                "replay=on_policy"
            )

    def build(self, context: ReplayContext) -> "RolloutReplay":
        return RolloutReplay(self, context)

    def fit_to_env(self, max_steps: int | None) -> "RolloutSpec":
        if max_steps is not None and (self.length > max_steps or not self.length):
            return replace(self, length=max_steps)
        if not self.length:
            raise UsageError("replay.length=0 (whole episodes) needs an environment with a time limit: give the steps")
        return self


class RolloutReplay(FreshRows):
    """The rows that ended since the last rollout was full, in memory.

    Source: Gallici et al. (2024), algorithm 1. There a rollout is the same T steps of all environments; here a row ends
    with its episode as elsewhere, so that rows of different environments end at different times. A rollout that was
    begun is learned from before the next batch, and so before a save.
    """

    def __init__(self, settings: RolloutSpec, context: ReplayContext) -> None:
        super().__init__(settings, context.schema)
        self._generator = torch.Generator().manual_seed(context.seed)
        self._batches: Iterator[TensorDict] = iter(())  # that are left of a rollout

    def truncate(self) -> None:
        """Keep the tails of the running episodes, which end here."""
        for stream in sorted(self._cutters):
            if (rows := self._cutters[stream].flush()) is not None:
                self._add(rows)

    def updates_due(self, frames: int) -> float:
        """Those of all epochs if there are enough rows, however many frames they took."""
        s = self.settings
        return float(s.epochs * (len(self) // s.batch_rows)) if len(self) >= s.rollout_rows else 0.0

    def sample(self) -> TensorDict | None:
        """Hand out rows [B]: those of the rollout that was begun, then all that wait."""
        rows = next(self._batches, None)
        if rows is None and len(self):
            self._batches = self._shuffled(self._take())
            rows = next(self._batches, None)
        return rows

    def _shuffled(self, rows: TensorDict) -> Iterator[TensorDict]:
        size = self.settings.batch_rows
        for _ in range(self.settings.epochs):
            order = torch.randperm(len(rows), generator=self._generator)
            for start in range(0, len(rows) - size + 1, size):
                yield rows[order[start : start + size]]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._generator.set_state(state["generator"])
