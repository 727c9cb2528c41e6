"""What the loop knows of a replay, and what a run must know of its settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor

from modules.keys import Spaces, StateSchema, Symmetry
from modules.metrics import Metric
from modules.replay.actor_rows import ActorRows, FirstErrors
from modules.replay.cut_rows import CutRows
from modules.replay.rows import FIRST_STEP_KEYS, SequenceSchema
from modules.spec import Spec
from modules.stateful import HasState


@dataclass(frozen=True, kw_only=True)
class ReplayContext:
    """What a replay may need.

    Attributes:
        directory: its own, of what it keeps on disk.
        spaces: of the run.
        schema: what a sequence is made of.
        save_every: env frames between checkpoints.
        batch_frames: env frames of a batch.
        seed: of its random stream.
        symmetry: of the environment, if it has one.
        run_id: what its files are recognised by.
        joins_streams: whether it may be given a stream whose first rows another one had.
        saved: its state in the checkpoint that the run continues from, or None.
        newer: checkpoints that were written after that one.
    """

    directory: Path
    spaces: Spaces
    schema: SequenceSchema
    save_every: int
    batch_frames: int
    seed: int
    symmetry: Symmetry | None = None
    run_id: str = ""
    joins_streams: bool = False
    saved: Mapping[str, Any] | None = None
    newer: int = 0


class RowsLost(LookupError):  # noqa: N818 - it is rows that are lost
    """Rows are not there any more of which a part was handed out."""


class ReplaySpec(Spec):
    """Settings of a replay.

    `by_priority` says whether rows are drawn by their errors; `on_policy` whether all that is learned from is what the
    newest policy did. A row has `length` steps to learn from behind `burn_in` others; a batch has `batch_rows`.
    """

    metrics = (
        Metric("replay/rows", "count", "rows in the replay"),
        Metric("replay/fill", "share", "rows in the replay / its capacity"),
        Metric("replay/padding", "share", "padded steps in the sampled rows"),
    )
    by_priority: ClassVar[bool] = False
    on_policy: ClassVar[bool] = False
    __dataclass_fields__: ClassVar[dict[str, Any]]  # each subclass is one

    length: int
    burn_in: int
    batch_rows: int

    def build(self, context: ReplayContext) -> "Replay":
        """Open the replay; raises `UsageError` if rows that a checkpoint refers to are lost or damaged."""
        raise NotImplementedError

    def wrong_state(self, state: Mapping[str, Any]) -> str:
        """Say what cannot be in a replay's `state` in a checkpoint; "" if nothing."""
        return ""

    def refuse_missing(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Raise `UsageError` if what a checkpoint's replay `state` refers to is no longer in `directory`."""

    def planned_updates(self, frames: int) -> float | None:
        """Optimiser steps that `frames` collected steps will call for; None if that depends on the episodes."""
        return None

    def fit_to_env(self, max_steps: int | None) -> "ReplaySpec":
        """Put in the length of the longest episode, `max_steps` if that is known, where it was left open."""
        raise NotImplementedError

    def schema(self, states: StateSchema, reads: tuple[str, ...], step_keys: tuple[str, ...] = ()) -> SequenceSchema:
        """Say what a row is made of, for a network with these recurrent `states` that `reads` these entries."""
        first = tuple(key for key in FIRST_STEP_KEYS if key in reads)
        return SequenceSchema(
            burn_in=self.burn_in, length=self.length, states=states, first_step_keys=first, step_keys=step_keys
        )

    def cutter(self, schema: SequenceSchema, errors: FirstErrors) -> ActorRows:
        """Make what cuts an actor's batches into rows, given how large their |δ| are."""
        return ActorRows(schema, errors, None)

    @property
    def capacity_rows(self) -> int:
        """Rows that it is full with."""
        raise NotImplementedError

    def with_room_for(self, rows: int) -> "ReplaySpec":
        """The same on this machine, with room for that many rows at least, to see what they cost."""
        return self

    def ring_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows on disk."""
        return 0

    def rings(self, *, here: bool) -> int:
        """How many of these lie on this machine; `here`: all that the run needs is here."""
        return 1

    def memory(self, rows: int) -> int:
        """Bytes in memory for `rows` rows on disk, beside what is drawn of them."""
        return 0

    def footprint(self, spaces: Spaces, schema: SequenceSchema, ring_rows: int) -> int:
        """Bytes on disk."""
        return 0

    @property
    def assumption(self) -> str:
        """Words that follow the footprint in the log: what it holds for."""
        return "at most"


class Replay(HasState, Protocol):
    """What was experienced, kept for learning; one that inherits from this leaves out what has nothing to do for it."""

    settings: Any

    def __len__(self) -> int:
        """Rows that can be learned from."""
        raise NotImplementedError

    @property
    def must_save(self) -> bool:
        """Tell whether the next save must not wait."""
        return False

    def anneal(self, frames: int) -> None:
        """Set what changes with the count of frames."""

    def extend(self, batch: TensorDictBase, stream: int = 0, rows: CutRows | None = None) -> None:
        """Take in a batch [N, T] of the collector's `stream`, which follows the one before it without a gap.

        `rows` are those that it completes, [R], where the actor has cut them itself (`collector.rows=actor`).
        """
        raise NotImplementedError

    def truncate(self) -> None:
        """End all running episodes here."""
        raise NotImplementedError

    def updates_due(self, frames: int) -> float:
        """Optimiser steps that `frames` collected steps call for; 0 while there are too few rows for a batch."""
        planned = self.settings.planned_updates(frames)
        return planned if planned is not None and len(self) >= self.settings.batch_rows else 0.0

    def sample(self) -> TensorDictBase | None:
        """Hand out rows [B] to learn from; None if there are none any more."""
        raise NotImplementedError

    def update(self, rows: TensorDictBase, errors: Tensor) -> None:
        """Take note of the |δ| [B, T] of sampled `rows`."""

    def sample_with_prefix(self, count: int, generator: torch.Generator) -> Iterator[TensorDictBase]:
        """Yield what `modules.learner.staleness.delta_q` compares rows with, drawn with `generator`."""
        return iter(())

    def measures(self) -> dict[str, float]:
        """How full it is."""
        return {"replay/rows": len(self), "replay/fill": len(self) / self.settings.capacity_rows}

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state_dict: Any, /) -> None:
        raise NotImplementedError
