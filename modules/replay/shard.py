"""A part of the replay that lies on a machine of a Ray cluster."""

import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Told(NamedTuple):
    """What a shard tells of itself with every answer.

    Attributes:
        answers: that it gave so far.
        rows: in it.
        mass: of all of them; each is drawn in proportion to its own.
        must_save: whether the next save must not wait.
    """

    answers: int = 0
    rows: int = 0
    mass: float = 0.0
    must_save: bool = False


class Drawn(NamedTuple):
    """Rows [B] that were drawn: their entries, and the mass of each, [B]."""

    rows: Arrays
    masses: NDArray[np.float64]


class Shard:
    """Runs in a process of its own: a `SequenceReplay` of rows that actors have cut.

    Args:
        task: the pickled settings and context of the replay. What the context says was saved is gone back to, where it
            is there.
    """

    def __init__(self, task: bytes) -> None:
        self._task, self._replay, self._answers = task, None, 0

    @property
    def replay(self) -> Any:
        """The replay; opened when first asked for, so that what goes wrong is the error of a call."""
        if self._replay is None:
            from modules.process import tune

            tune(threads=1)
            settings, context = pickle.loads(self._task)
            if context.saved and not context.directory.exists():  # that was on another machine
                context = replace(context, saved=None)
            if not context.saved:  # what lies there is of a run that was killed and resumed from before it
                shutil.rmtree(context.directory, ignore_errors=True)
            self._replay = settings.build(context)
            if context.saved:
                self._replay.load_state_dict(context.saved)
        return self._replay

    def tell(self) -> Told:
        """How much there is."""
        self._answers += 1
        _, mass = self.replay.masses(torch.zeros(0, dtype=torch.int64))
        return Told(self._answers, len(self.replay), mass, self.replay.must_save)

    def extend(self, stream: int, rows: bytes) -> Told:
        """Store rows that were packed."""
        from modules.replay.cut_rows import CutRows

        self.replay.extend(None, stream, CutRows.unpack(rows))
        return self.tell()

    def set_priorities(self, numbers: NDArray[np.int64], priorities: NDArray[np.float32]) -> Told:
        """Give rows other priorities."""
        self.replay.set_priorities(torch.tensor(numbers), torch.tensor(priorities))
        return self.tell()

    def exchange(
        self, numbers: NDArray[np.int64], priorities: NDArray[np.float32], count: int
    ) -> tuple[Drawn | None, Told]:
        """Give rows other priorities, then draw `count`."""
        from modules import keys

        told = self.set_priorities(numbers, priorities)
        if not told.rows:
            return None, told
        rows = self.replay.draw(count).exclude(keys.WEIGHT)
        masses, _ = self.replay.masses(rows[keys.ROW])
        return Drawn({key: value.numpy() for key, value in rows.items()}, masses.numpy()), told

    def history(self, count: int, seed: int) -> Iterator[Arrays]:
        """What `SequenceReplay.sample_with_prefix` yields."""
        for rows in self.replay.sample_with_prefix(count, torch.Generator().manual_seed(seed)):
            yield {key: value.numpy() for key, value in rows.items()}

    def measures(self) -> dict[str, float]:
        """Metrics of what is stored."""
        return self.replay.measures()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of it; taking it marks the rows written so far as saved."""
        return self.replay.state_dict()
