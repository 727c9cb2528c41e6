"""What the loop knows of a replay, and what a run must know of its settings."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor

from modules.keys import Spaces, StateSchema
from modules.metrics import Metric
from modules.replay.rows import SequenceSchema
from modules.spec import Spec


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

    def fitted(self, max_steps: int | None) -> "ReplaySpec":
        """Put in the length of the longest episode, `max_steps` if that is known, where it was left open."""
        raise NotImplementedError

    def layout(self, states: StateSchema, reads: tuple[str, ...], extra: tuple[str, ...] = ()) -> SequenceSchema:
        """Say what a row is made of, for a network with these recurrent `states` that `reads` these entries."""
        raise NotImplementedError

    @property
    def capacity_rows(self) -> int:
        """Rows that it is full with."""
        raise NotImplementedError

    def ring_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows on disk."""
        raise NotImplementedError

    def memory(self, rows: int) -> int:
        """Bytes in memory for `rows` rows on disk, beside what is drawn of them."""
        del rows
        return 0

    def footprint(self, spaces: Spaces, layout: SequenceSchema, ring_rows: int) -> int:
        """Bytes on disk."""
        raise NotImplementedError


class Replay(Protocol):
    """What was experienced, kept for learning."""

    settings: Any

    def __len__(self) -> int:
        """Rows that can be learned from."""
        ...

    @property
    def must_save(self) -> bool:
        """Tell whether the next save must not wait."""
        ...

    def anneal(self, frames: int) -> None:
        """Set what changes with the count of frames."""
        ...

    def extend(self, batch: TensorDictBase, stream: int = 0) -> None:
        """Take in a batch [N, T] of the collector's `stream`, which follows the one before it without a gap."""
        ...

    def truncate(self) -> None:
        """End all running episodes here."""
        ...

    def updates_due(self, frames: int) -> float:
        """Optimiser steps that `frames` collected steps call for."""
        ...

    def sample(self) -> TensorDictBase:
        """Hand out rows [B] to learn from."""
        ...

    def update(self, rows: TensorDictBase, errors: Tensor) -> None:
        """Take note of the |δ| [B, T] of sampled `rows`."""
        ...

    def sample_with_prefix(self, count: int, generator: torch.Generator) -> Iterator[TensorDictBase]:
        """Yield what `modules.learner.staleness.delta_q` compares rows with, drawn with `generator`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of it."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        ...
