"""Resume at the newest checkpoint: `python -m pipelines.resume run=DIR [total_frames=N] [setting=value …]`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from modules.spec import Spec, UsageError, spec
from pipelines.agent.trained_agent import load_run, network_with, read_summary
from pipelines.config.check import check
from pipelines.config.hints import content
from pipelines.config.plugins import Plugins
from pipelines.config.schema import read
from pipelines.config.settings import check_settings, parse_words
from pipelines.console.command import command
from pipelines.training.begin import LINE
from pipelines.training.counters import reached_goal
from pipelines.training.pictures import missing_pictures
from pipelines.training.resumable import goes_on_from
from pipelines.training.session import execute

GOALS = ("stop_at_score", "stop_at_episodes", "stop_at_length")
CADENCES = ("log_every", "save_every", "eval_every", "eval_episodes", "keep_checkpoints")
CHANGEABLE = ("total_frames", *GOALS, *CADENCES, "video", "device", "threads", "logger")
USAGE = f"""python -m pipelines.resume run=DIR [setting=value ...]
  run=DIR          run directory to continue (required)
  total_frames=N   new end of the run, in env frames
  stop_at_score=X  new score that ends the run early, null for none
  stop_at_length=X the same for the length of episodes
  device=cpu|cuda  where the networks live from now on
  logger=NAME      where the numbers go from now on; logger.SETTING=... as for pipelines.train
  plugins=[FILE]   modules of your own that the run imports; named again each time, for the folder may not be yours
All that may be changed: {", ".join(CHANGEABLE)}.
What is not given stays as it was when the run was started; docs/python.md says what a change does."""


@spec
class Resume(Spec):
    """Settings of a resumed run; `changes` are values of `CHANGEABLE` ones and of `logger.…`, checked with the run."""

    run: Path
    changes: dict[str, Any]
    plugins: Plugins


def resume(settings: Resume, *, bar: bool) -> float | None:
    """Continue a run in its own directory; returns its score."""
    run_dir = settings.run
    _, config = load_run(run_dir, settings.plugins)
    config = apply_changes(config, settings.changes)
    run = read(OmegaConf.create(config))
    state = goes_on_from(run, run_dir)
    finished = (read_summary(run_dir) or {}).get("status") == "finished"
    # Else there is something left to do at the end: an evaluation, a summary, a picture, a film.
    ended = finished and not missing_pictures(run, run_dir, state["frames"])
    if state["frames"] >= run.total_frames and (ended or "total_frames" in settings.changes):
        raise UsageError(
            f"total_frames={run.total_frames}: {run_dir} is at frame {state['frames']} already; "
            f"give a larger total_frames to train on"
        )
    goal = reached_goal(run, state["counters"]["score"], state["counters"]["episodes"])
    if goal and (ended or not settings.changes.keys().isdisjoint(GOALS)):
        name = goal.partition("=")[0]
        raise UsageError(f"{goal}: {run_dir} has reached it; to continue, give a harder one or {name}=null")
    check(run, run_dir)
    run.replay.refuse_missing(run_dir / "replay", state["replay"])
    network_with(state["network"], run, run_dir)
    return execute(run, run_dir, config, state, bar=bar)


def apply_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put `changes` into the configuration of a run: an option of the logger first, then its single settings."""
    config = dict(config)
    if "logger" in changes:
        config["logger"] = content("logger", changes["logger"])
    for name, value in changes.items():
        if name.startswith("logger."):
            config["logger"] = {**config["logger"], name.removeprefix("logger."): value}
        elif name != "logger":
            config[name] = value
    return config


def settings_of(arguments: Sequence[str]) -> Resume:
    """Read the words of a command line; raises `UsageError` for a setting that cannot be changed any more."""
    values = parse_words(arguments, ("run", *CHANGEABLE, "plugins"), ("run", "logger"), USAGE)
    mine = {name: values.pop(name) for name in ("run", "plugins") if name in values}
    if fixed := [name for name in values if name not in CHANGEABLE and not name.startswith("logger.")]:
        raise UsageError(f"{fixed[0]}: it cannot be changed at a resume; what can is {', '.join(CHANGEABLE)}")
    return check_settings(Resume, {"plugins": (), **mine, "changes": values})


def main(arguments: Sequence[str]) -> int:
    """Resume and train to the end."""
    logging.basicConfig(level=logging.INFO, format=LINE)
    with command():
        resume(settings_of(arguments), bar=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
