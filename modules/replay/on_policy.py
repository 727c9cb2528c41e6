"""No replay: episodes are learned from once, by the policy that they are of, and forgotten."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase

from modules import keys
from modules.replay.base import Replay, ReplayContext, ReplaySpec
from modules.replay.cut_rows import CutRows
from modules.replay.rows import SequenceBuilder, SequenceSchema
from modules.replay.sequence import previous_steps
from modules.spec import Count, Positive, RunConfig, UsageError, spec


class EpisodeTooLongError(RuntimeError):
    """An episode has more steps than `replay.length` says that the longest has."""


@spec
class OnPolicySpec(ReplaySpec):
    """Settings of the null object among the replays, for losses that learn the policy that acts.

    Attributes:
        length: steps of the longest episode; 0 stands for the environment's time limit.
        batch_rows: episodes that an update waits for; those that end in the same batch of steps come along.
    """

    on_policy = True
    burn_in = 0  # a row begins with its episode, where the recurrent state is known to be zero

    length: Count
    batch_rows: Positive

    @property
    def capacity_rows(self) -> int:
        return self.batch_rows

    def needs(self, run: RunConfig) -> Iterator[str]:
        limit = run.env.episode_limit()
        if limit is not None and self.length < limit:
            yield f"replay.length={self.length} must not be less than the environment's {limit} steps: set it to 0"
        if not run.loss.on_policy:
            yield (
                "replay=on_policy has whole episodes, to be learned from once, and this loss is for rows that it sees "
                "several times: use replay=sequence, or loss=reinforce"
            )

    def build(self, context: ReplayContext) -> "OnPolicyReplay":
        return OnPolicyReplay(self, context.schema)

    def fit_to_env(self, max_steps: int | None) -> "OnPolicySpec":
        if self.length:
            return self
        if max_steps is None:
            raise UsageError("replay.length=0 needs an environment with a time limit: give the longest episode's steps")
        return replace(self, length=max_steps)


class FreshRows(Replay):
    """Rows in memory that nothing was learned from yet."""

    def __init__(self, settings: ReplaySpec, schema: SequenceSchema) -> None:
        self.settings = settings
        self._schema = schema
        self._cutters: dict[int, SequenceBuilder] = {}
        self._rows: list[TensorDict] = []

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows)

    def extend(self, batch: TensorDictBase, stream: int = 0, rows: CutRows | None = None) -> None:
        whole = (
            self._cutters.setdefault(stream, SequenceBuilder(self._schema)).push(batch)
            if rows is None
            else rows.whole()
        )
        self._add(whole)

    def _add(self, rows: TensorDict) -> None:
        if len(rows):
            self._rows.append(rows)

    def _take(self) -> TensorDict:
        """All rows that wait, [B], in the order in which they ended, no longer than the longest."""
        whole, self._rows = self._join_rows(), []
        steps = int(whole[keys.MASK].sum(1).max())
        per_step = (keys.ACTION, keys.REWARD, keys.TERMINATED, keys.MASK, *self._schema.step_keys)
        rows = {
            keys.OBSERVATION: whole[keys.OBSERVATION][:, : steps + 1],
            **{key: whole[key][:, :steps] for key in per_step},
            **{key: whole[key] for key in (*self._schema.states, *self._schema.first_step_keys)},
        }
        return TensorDict(rows | previous_steps(rows, self._schema), batch_size=[len(whole)])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": dict(self._join_rows().items()) if self._rows else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rows = state["rows"]
        self._rows = [TensorDict(dict(rows), batch_size=[len(rows[keys.MASK])])] if rows else []

    def _join_rows(self) -> TensorDict:
        return torch.cat(self._rows)  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]


class OnPolicyReplay(FreshRows):
    """The episodes that ended since the last update, in memory.

    Each episode is learned from exactly once, whole, in the first update after its end. With several environments an
    update comes while other episodes run. These continue under the new weights, so their first steps were chosen by an
    older policy than the one that learns from them, by as many updates as they span (about one where as many episodes
    are waited for as there are environments). Nothing corrects that: to throw such episodes away would prefer short
    ones. One environment and `replay.batch_rows=1` is the textbook's, except for the steps between the episode's end
    and that of its batch. An episode that a save cuts off is dropped, for nobody knows its return.
    """

    def _add(self, rows: TensorDict) -> None:
        """Keep episodes; raises `EpisodeTooLongError` if one is longer than a row."""
        if rows[keys.FOLLOWS].any():
            raise EpisodeTooLongError(
                f"replay.length={self.settings.length}: an episode is longer, so its return is not known; give the "
                "steps of the longest"
            )
        super()._add(rows)

    def truncate(self) -> None:
        """Forget the running episodes."""
        self._cutters.clear()

    def updates_due(self, frames: int) -> float:
        """1 if enough episodes wait, however many frames they took."""
        return float(len(self) >= self.settings.batch_rows)

    def sample(self) -> TensorDict:
        return self._take()
