"""Resume at the newest checkpoint: `python -m pipelines.resume run=DIR [total_frames=N] [stop_at_score=X]`."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import OmegaConf
from pydantic import Field

from modules.replay.ring import refuse_missing_ring
from modules.spec import Spec, UsageError, spec
from pipelines.check import check
from pipelines.command import command
from pipelines.loop import reached
from pipelines.plugins import Plugins
from pipelines.resumable import goes_on_from
from pipelines.saved import load_run, network_with
from pipelines.schema import read
from pipelines.session import execute, missing_pictures
from pipelines.settings import parse

DEFAULTS = {"total_frames": None, "stop_at_score": "keep", "stop_at_length": "keep", "plugins": ()}
USAGE = """python -m pipelines.resume run=DIR [total_frames=N]
  run=DIR          run directory to go on with (required)
  total_frames=N   new end of the run, in env frames; default: the end that it was started with
  stop_at_score=X  new score that ends the run early, null for none; default: the one that it was started with
  stop_at_length=X the same for the length of episodes
  plugins=[FILE]   modules of your own that the run imports; named again each time, for the folder may not be yours"""


@spec
class Resume(Spec):
    """Settings of a resumed run."""

    run: Path
    total_frames: Annotated[int, Field(gt=0)] | None
    stop_at_score: float | Literal["keep"] | None
    stop_at_length: float | Literal["keep"] | None
    plugins: Plugins


def resume(settings: Resume, *, bar: bool) -> float | None:
    """Go on with a run in its own directory; returns its score."""
    run_dir = settings.run
    _, config = load_run(run_dir, settings.plugins)
    if settings.total_frames is not None:
        config["total_frames"] = settings.total_frames
    goals = {"stop_at_score": settings.stop_at_score, "stop_at_length": settings.stop_at_length}
    changed = {name: goal for name, goal in goals.items() if goal != "keep"}
    config |= changed
    run = read(OmegaConf.create(config))
    state = goes_on_from(run, run_dir)
    # Else there is something left to do at the end: an evaluation, a summary, a picture, a film.
    ended = finished(run_dir) and not missing_pictures(run, run_dir, state["frames"])
    if state["frames"] >= run.total_frames and (ended or settings.total_frames is not None):
        raise UsageError(
            f"total_frames={run.total_frames}: {run_dir} is at frame {state['frames']} already; "
            f"give a larger total_frames to train on"
        )
    goal = reached(run, state["counters"]["score"])
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
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def main(arguments: Sequence[str]) -> int:
    """Resume and train to the end."""
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s")
    with command():
        resume(parse(Resume, DEFAULTS, arguments, USAGE), bar=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
