"""The files of a run that acting begins with: its configuration, as plain values, and what was saved of its policy."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modules import checkpoint
from modules.spec import UsageError
from pipelines.config.older import as_now
from pipelines.config.plugins import read_yaml, refuse_lookups, values_of
from pipelines.console.output import quote_path

CONFIG = "config.yaml"
RUN_ID = r"[0-9a-f]{32}|"  # nothing: of runs of before
# What best.pt has.
POLICY = {"frames": int, "network": Mapping, "intrinsic_model": Mapping, "intrinsic_reward": Mapping, "arm": int}


def read_config(run_dir: Path) -> dict[str, Any]:
    """Read the settings of a run as plain values; raises `UsageError` if no run is there, or one is not ours."""
    path = run_dir / CONFIG
    if not path.is_file():
        beneath = runs_beneath(run_dir)
        newest = max(beneath, key=lambda path: (path / CONFIG).stat().st_mtime, default=run_dir)
        hint = f"; runs lie beneath it, the newest is run={quote_path(newest)}" if beneath else ""
        raise UsageError(f"{run_dir}: no run is there (it has no config.yaml){hint}")
    config = values_of(read_yaml(path))
    refuse_lookups(config, path)
    return config


def runs_beneath(folder: Path) -> list[Path]:
    """Find the run directories of a sweep, in the order of their numbers; none if `folder` is itself a run."""
    found = []
    for place, inner, files in [] if (folder / CONFIG).exists() else os.walk(folder):
        if CONFIG in files:
            inner.clear()
            found.append(Path(place))
    return sorted(found, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", str(path))])


def load_saved_policy(n_arms: int, run_dir: Path, which: str) -> tuple[Path, dict[str, Any]]:
    """Load what a run saved for evaluations, `best` or `last`; say where from."""
    path, state = read_saved_policy(run_dir, which)
    refuse_impossible(path, state, n_arms, run_dir)
    return path, state


def read_saved_policy(run_dir: Path, which: str) -> tuple[Path, dict[str, Any]]:
    """Read it, and believe nothing of it yet."""
    folder = run_dir / "checkpoints"
    path = folder / "best.pt"
    if which == "last" or not path.exists():
        path = checkpoint.latest(folder)
        if which == "best":
            raise UsageError(f"{run_dir}: no evaluation has chosen a best checkpoint yet; use checkpoint=last")
    return path, as_now(checkpoint.load(path))


def refuse_impossible(path: Path, state: Mapping[str, Any], n_arms: int, run_dir: Path) -> None:
    """Raise `UsageError` if `state` cannot be evaluated, or is another run's."""
    if wrong := next(impossible(state, POLICY, n_arms), ""):
        raise UsageError(f"{path}: not a checkpoint that can be evaluated, because {wrong}")
    refuse_another_runs(state, path, run_dir)


def load_weights(network: Any, state: Any, run_dir: Path) -> None:
    """Put the weights saved in `run_dir` into a network, or raise `UsageError`."""
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(f"{run_dir}: the saved weights do not fit the network in its config.yaml") from error


def refuse_another_runs(state: Mapping[str, Any], path: Path, run_dir: Path) -> None:
    """Raise `UsageError` if the run in `run_dir` did not write this checkpoint, as far as its summary.json tells."""
    summary = read_summary(run_dir)
    if summary is not None and state.get("run_id", "") != summary.get("run_id", ""):
        raise UsageError(f"{path}: a checkpoint of another run than the one in {run_dir}; put it back where it was")


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """What the summary.json of a run says; None if there is none, or it is damaged."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) else None


def impossible(state: Mapping[str, Any], kinds: Mapping[str, type], n_arms: int) -> Iterator[str]:
    """Say what in a checkpoint is missing, of another type than in `kinds`, or out of its bounds."""
    if missing := [name for name in kinds if name not in state]:
        yield f"it has no {' and no '.join(missing)}, which best.pt, older runs and other programs' files lack"
        return
    for name, kind in kinds.items():
        if not isinstance(state[name], kind) or isinstance(state[name], bool):
            yield f"its {name} is no {'number' if kind is int else 'table'}"
            return
    if state["frames"] < 0:
        yield f"{state['frames']} is no number of frames"
    run_id = state.get("run_id", "")
    if not (isinstance(run_id, str) and re.fullmatch(RUN_ID, run_id)):
        yield "its identity is none that a run draws"
    if state["arm"] not in range(n_arms):
        yield f"it has arm {state['arm']}, and the run {n_arms} arms, of which the first is 0"
