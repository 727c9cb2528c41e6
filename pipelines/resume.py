"""Resume at the newest checkpoint: `python -m pipelines.resume run=DIR [total_frames=N] [stop_at_score=X]`."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import OmegaConf
from pydantic import Field

from modules import checkpoint
from modules.replay.ring import refuse_missing_ring
from modules.spec import Spec, UsageError, spec
from pipelines.check import check
from pipelines.command import command
from pipelines.loop import reached
from pipelines.saved import load_run, network_with
from pipelines.schema import read
from pipelines.session import execute
from pipelines.settings import parse

DEFAULTS = {"total_frames": None, "stop_at_score": "keep", "stop_at_episodes": "keep", "stop_at_length": "keep"}
USAGE = """python -m pipelines.resume run=DIR [total_frames=N]
  run=DIR          run directory to go on with (required)
  total_frames=N   new end of the run, in env frames; default: the end that it was started with
  stop_at_score=X  new score that ends the run early, null for none; default: the one that it was started with
  stop_at_episodes=N the same for the number of training episodes
  stop_at_length=X the same for the length of episodes"""


@spec
class Resume(Spec):
    """Settings of a resumed run."""

    run: Path
    total_frames: Annotated[int, Field(gt=0)] | None
    stop_at_score: float | Literal["keep"] | None
    stop_at_episodes: int | Literal["keep"] | None
    stop_at_length: float | Literal["keep"] | None


def resume(settings: Resume, *, bar: bool) -> float | None:
    """Go on with a run in its own directory; returns its score."""
    run_dir = settings.run
    _, config = load_run(run_dir)
    state = checkpoint.load(checkpoint.latest(run_dir / "checkpoints"))
    if settings.total_frames is not None:
        config["total_frames"] = settings.total_frames
    goals = {name: getattr(settings, name) for name in ("stop_at_score", "stop_at_episodes", "stop_at_length")}
    changed = {name: goal for name, goal in goals.items() if goal != "keep"}
    config |= changed
    run = read(OmegaConf.create(config))
    ended = finished(run_dir)  # else there is something left to do at the end: an evaluation, a summary, a film
    if state["frames"] >= run.total_frames and (ended or settings.total_frames is not None):
        raise UsageError(
            f"total_frames={run.total_frames}: {run_dir} is at frame {state['frames']} already; "
            f"give a larger total_frames to train on"
        )
    goal = reached(run, state["counters"]["score"], state["counters"]["episodes"])
    if goal and (ended or changed):
        name = goal.partition("=")[0]
        raise UsageError(f"{goal}: {run_dir} has reached it; to go on, give a harder one or {name}=null")
    check(run, run_dir)
    refuse_missing_ring(run_dir / "replay", state["replay"])
    network_with(state["network"], run, run_dir)
    return execute(run, run_dir, config, state, bar=bar)


def finished(run_dir: Path) -> bool:
    """Tell whether the run came to its end, summary included."""
    try:
        return json.loads((run_dir / "summary.json").read_text())["status"] == "finished"
    except (OSError, ValueError, LookupError, TypeError):
        return False


def main(arguments: Sequence[str]) -> int:
    """Resume and train to the end."""
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
    with command():
        resume(parse(Resume, DEFAULTS, arguments, USAGE), bar=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
