"""How often each cell of an environment's map was visited in the whole training."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase

from modules import keys
from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.keys import GridMap
from modules.plots.visits import visits_map
from modules.spec import RunConfig, spec


@spec
class VisitsSpec(CallbackSpec):
    """Settings of the map of visits, of environments that have a map."""

    pictures = ("visits.png",)
    reads_observations = True

    def applies(self, run: RunConfig) -> bool:
        return run.env.grid_map() is not None

    def build(self, context: Context) -> TrainingCallback:
        assert context.grid is not None
        return Visits(context.grid)


class Visits(TrainingCallback):
    """Counts the cells in which the batches' observations were made.

    Every observation of an episode counts once: those that were acted on, and the last one. Only the one at which a
    restart of the environments abandons an episode is missing. All of a batch is looked at in one go, which costs less
    than 1 % of acting (7 µs per step); one more entry in each step's data would cost 2 % (16 µs; both: R2D2, 16
    environments, one core).
    """

    def __init__(self, grid: GridMap) -> None:
        self._grid = grid
        self.counts = torch.zeros(grid.shape, dtype=torch.int64)

    def on_batch(self, training: Training, batch: TensorDictBase) -> None:
        last = batch["next", keys.OBSERVATION][batch["next", keys.DONE].squeeze(-1)]
        cells = self._grid.cells(torch.cat((batch[keys.OBSERVATION].flatten(0, 1), last)))
        found = torch.bincount(cells[cells >= 0], minlength=prod(self._grid.shape))
        self.counts += found.view_as(self.counts)

    def draw(self, training: Training) -> list[Path]:
        picture = visits_map(training.run_dir, self.counts.numpy(), self._grid.goals)
        return [] if picture is None else [picture]

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.counts.copy_(state["counts"])
