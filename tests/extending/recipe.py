"""What every extension must do, as a user outside the repository would have it: in a file of the current folder."""

import csv
import os
import signal
import sys
from functools import partial
from pathlib import Path

from tests.pipelines import deaths
from tests.pipelines.launch import run

SMALL = ("+exp=drqn_cartpole_masked", "+debug=smoke", "threads=1", "video=false", "eval_episodes=2", "total_frames=240")
SMALL += ("eval_every=80", "log_every=20", "save_every=80", "hydra.run.dir=run")


def look_here() -> None:
    """Find the user's files, as `python -m` does."""
    sys.path.insert(0, os.getcwd())


def die(moment) -> None:
    """Find them, and arrange for the end."""
    look_here()
    moment()


def go(here: Path, module: str, *words: str, before=look_here):
    """Run a command in the user's folder."""
    return run(f"pipelines.{module}", *words, cwd=here, before=before)


def rows(here: Path, name: str = "run") -> list[dict[str, str]]:
    """The rows of a run's metrics.csv."""
    return list(csv.DictReader((here / name / "metrics.csv").open()))


def trains_and_all(here: Path, plugin: str, *words: str, alive: int = 110, small=SMALL) -> list[dict[str, str]]:
    """Train, evaluate, export; then train again, be killed at frame `alive`, and resume bit for bit.

    Returns:
        The rows of metrics.csv.
    """
    words = (*small, *words, f"plugins=[{plugin}]")
    whole = go(here, "train", *words)
    assert whole.code == 0, whole.err
    expected, found = (here / "run" / "metrics.csv").read_bytes(), rows(here)
    for command in (("evaluate", "episodes=2"), ("export",)):
        ended = go(here, command[0], "run=run", *command[1:], f"plugins=[{plugin}]")
        assert ended.code == 0, ended.err
    (here / "run").rename(here / "whole")
    killed = go(here, "train", *words, before=partial(die, partial(deaths.in_step, alive)))
    assert killed.code == -signal.SIGKILL
    assert go(here, "resume", "run=run", f"plugins=[{plugin}]").code == 0
    assert (here / "run" / "metrics.csv").read_bytes() == expected
    return found
