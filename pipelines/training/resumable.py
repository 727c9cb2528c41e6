"""What a run continues from: its newest checkpoint that is whole, its own, and possible; looking changes nothing."""

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from modules import checkpoint
from modules.seeding import random_state, set_random_state
from modules.spec import UsageError
from pipelines.agent.saved import POLICY, impossible, refuse_another_runs
from pipelines.config.older import as_now
from pipelines.config.schema import RunConfig
from pipelines.training.counters import Counters

log = logging.getLogger("recall")
ALL = POLICY | dict.fromkeys(("counters", "measures", "logger", "random", "learner", "replay"), Mapping)
ALL |= dict.fromkeys(("actors", "evaluation_bandit", "callbacks"), Mapping)
MEASURES = TypeAdapter(dict[Literal["sums", "counts"], dict[str, Annotated[float, Field(allow_inf_nan=False)]]])
COUNTERS = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Counters))


def goes_on_from(run: RunConfig, run_dir: Path) -> dict[str, Any]:
    """Read the checkpoint that a run continues from, and say so if it is not the newest.

    Raises:
        UsageError: there is none, or the newest that can be read is not one of this run.
    """
    folder = run_dir / "checkpoints"
    path, state = checkpoint.newest_whole(folder)
    state = as_now(state, torchrl_loss=run.loss.names_of_torchrl)
    where = f"{path}: not a checkpoint that {run_dir} can continue from"
    if wrong := next(impossible(state, ALL, run.spaces.n_arms), "") or next(uncountable(state, path, run), ""):
        others = [other for other in checkpoint.list_checkpoints(folder) if other < path]
        instead = f"; move it away to continue from {others[-1]}" if others else ""
        raise UsageError(f"{where}, because {wrong}{instead}")
    refuse_another_runs(state, path, run_dir)
    if skipped := [other for other in checkpoint.list_checkpoints(folder) if other > path]:
        log.warning(
            "%s is damaged: continuing from frame %d; what the run did after it is repeated, rows of metrics.csv too",
            " and ".join(map(str, skipped)),
            state["frames"],
        )
    return state


def uncountable(state: Mapping[str, Any], path: Path, run: RunConfig) -> Iterator[str]:
    """Say which counts of a whole checkpoint contradict each other or its name."""
    given = dict(state["counters"])
    try:
        c = COUNTERS.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        yield f"its counters are wrong at {'.'.join(map(str, first['loc']))} ({first['msg']})"
        return
    if any(getattr(c, name) != value for name, value in given.items()):  # "3" would pass for 3
        yield "one of its counters is no number"
    if path.name != checkpoint.path_of(path.parent, state["frames"]).name or c.frames != state["frames"]:
        yield f"it was saved at frame {state['frames']}, not at that of its name"
    numbers = (c.episodes, c.restarts, c.updates_due, c.wall_s)
    if any(number < 0 for number in numbers) or not -1 <= c.evaluated_at <= c.frames:
        yield "one of its counters is negative, or of a frame to come"
    floats = (c.updates_due, c.wall_s, *c.score.values(), 0 if c.best_score is None else c.best_score)
    if not all(map(math.isfinite, floats)):
        yield "one of its counters is not finite"
    try:
        MEASURES.validate_python(state["measures"])
    except ValidationError:
        yield "its measures are no sums and counts"
    if wrong := run.replay.wrong_state(state["replay"]):
        yield wrong
    if not all(isinstance(value, str) or (isinstance(value, int) and value >= 0) for value in state["logger"].values()):
        yield "its logger's state is not what a logger saved"
    before = random_state()
    try:
        set_random_state(dict(state["random"]))
    except Exception:  # whatever three libraries say to a foreign state
        yield "its random streams are not those of this program"
    finally:
        set_random_state(before)
