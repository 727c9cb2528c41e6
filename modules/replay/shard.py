"""A part of the replay that lies on a machine of a Ray cluster."""

import pickle
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class ShardStatus(NamedTuple):
    """What a shard tells of itself with every answer.

    Attributes:
        answers: that it gave so far.
        rows: in it.
        mass: of all of them; each is drawn in proportion to its own.
        save_at: rows after a save, of which one more means that the next must not wait.
    """

    answers: int = 0
    rows: int = 0
    mass: float = 0.0
    save_at: int = 0


class Drawn(NamedTuple):
    """Rows [B] that were drawn, packed, and the mass of each, [B]."""

    rows: bytes
    masses: NDArray[np.float64]


class Shard:
    """Runs in a process of its own: a `SequenceReplay` of rows that actors have cut.

    Args:
        task: pickled, the learner's `versions`, and, pickled again, settings and context of the replay. If the context
            holds what was saved, the replay goes back to that.
    """

    def __init__(self, task: bytes) -> None:
        self._task, self._opened, self._answers = task, None, 0

    def is_there(self) -> bool:
        """Whether this machine has the folder of its rows."""
        return self._settings()[1].directory.exists()

    def status(self) -> ShardStatus:
        """How much there is."""
        self._answers += 1
        _, mass = self._replay.masses(torch.zeros(0, dtype=torch.int64))
        return ShardStatus(self._answers, len(self._replay), mass, self._replay.save_at)

    def extend(self, stream: int, rows: bytes) -> ShardStatus:
        """Store rows that were packed."""
        from modules.replay.cut_rows import CutRows

        self._replay.extend(None, stream, CutRows.unpack(rows))
        return self.status()

    def set_priorities(self, numbers: NDArray[np.int64], priorities: NDArray[np.float32]) -> ShardStatus:
        """Give rows other priorities."""
        self._replay.set_priorities(torch.tensor(numbers), torch.tensor(priorities))
        return self.status()

    def exchange(
        self, numbers: NDArray[np.int64], priorities: NDArray[np.float32], count: int
    ) -> tuple[Drawn | None, ShardStatus]:
        """Give rows other priorities, then draw `count`."""
        from modules import keys
        from modules.replay.cut_rows import CutRows

        status = self.set_priorities(numbers, priorities)
        if not status.rows:
            return None, status
        rows = self._replay.draw(count).exclude(keys.WEIGHT)
        masses, _ = self._replay.masses(rows[keys.ROW])
        return Drawn(CutRows(rows).pack(), masses.numpy()), status

    def history(self, count: int, seed: int) -> Iterator[bytes]:
        """What `SequenceReplay.sample_with_prefix` yields, packed."""
        from modules.replay.cut_rows import CutRows

        for rows in self._replay.sample_with_prefix(count, torch.Generator().manual_seed(seed)):
            yield CutRows(rows).pack()

    def measures(self) -> dict[str, float]:
        """Metrics of what is stored."""
        return self._replay.measures()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of it; taking it marks the rows written so far as saved."""
        return self._replay.state_dict()

    @property
    def _replay(self) -> Any:
        """The replay; opened when first asked for, so that what goes wrong is the error of a call."""
        if self._opened is None:
            from modules.process import tune

            tune(threads=1)
            settings, context = self._settings()
            if not context.saved:  # what lies there is of a run that was killed, and resumed from before it
                shutil.rmtree(context.directory, ignore_errors=True)
            self._opened = settings.build(context)
            if context.saved:
                self._opened.load_state_dict(context.saved)
        return self._opened

    def _settings(self) -> tuple[Any, Any]:
        from modules.process import refuse_other_versions

        learners, task = pickle.loads(self._task)
        refuse_other_versions(learners)
        return pickle.loads(task)
