"""Reading finished or unfinished runs back from their directories: tables of metrics, summary, evaluation."""

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.metrics import SCORE
from modules.spec import UsageError

SCORE_METRIC = SCORE
SUMMARY, EVALUATION = "summary.json", "evaluation.json"
RANDOM_PLAY = "random play"  # what random actions return, if that was evaluated
STATUSES = ("finished", "interrupted", "failed", "running", "pruned")
ENDED = ("finished", "pruned")  # with nothing left to do
EVALUATED = ("mean", "std", "min", "episodes")  # what the table shows of evaluation.json
HOW = ("checkpoint", "episodes", "envs", "seed")  # an evaluation is made

Table = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SeedCurve:
    """One run's measurements `values` [M] at `frames` [M], and its final value (NaN if it has none).

    `stopped_early` says that the run finished before all the frames that it was given.
    """

    frames: np.ndarray
    values: np.ndarray
    final: float
    finished: bool
    stopped_early: bool = False


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run directory says.

    Attributes:
        numbers: what the tables show, NaN where nothing was measured; of the evaluation only if there was one.
        evaluated: how the held-out evaluation was made (`HOW`), by its file; may be empty.
        outdated: whether the run has a newer checkpoint of the kind that was evaluated.
        curve: of the metric that is reported.
        curves: of that one and of any other that was asked for.
    """

    path: Path
    exp: str
    memory: str
    seed: int
    status: str
    commit: str
    numbers: Mapping[str, float]
    evaluated: Mapping[str, Any]
    outdated: bool
    curve: SeedCurve
    curves: Mapping[str, SeedCurve]


def read_table(path: Path) -> Table:
    """Read metrics.csv or timing.csv as columns [rows] of float64, NaN where nothing was measured.

    A last line without its newline was cut by a kill and is left out; an empty file gives no columns.

    Raises:
        UsageError: if the file cannot be read as such a table.
    """
    try:
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        lines = list(csv.reader(whole.splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read '{path}': {error}.") from error
    if not lines:
        return {}
    names, rows = lines[0], lines[1:]
    if names[:1] != ["frames"]:
        raise UsageError(f"'{path}' is no table of metrics: its first column must be 'frames'.")
    values = np.full((len(rows), len(names)), np.nan)
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise UsageError(f"'{path}', line {i + 2}: {len(row)} cells instead of {len(names)}.")
        try:
            values[i] = [float(cell) if cell else np.nan for cell in row]
        except ValueError as error:
            raise UsageError(f"'{path}', line {i + 2}: {error}.") from error
    if not (np.isfinite(values[:, 0]).all() and (np.diff(values[:, 0]) >= 0).all()):
        raise UsageError(f"'{path}': the column 'frames' must be filled and must never go back.")
    return dict(zip(names, values.T, strict=True))


def read_table_if_any(path: Path) -> Table:
    """Read a table as `read_table` does; a file that is not there gives no columns."""
    return read_table(path) if path.exists() else {}


def read_metric(table: Table, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames [M] and the values [M] of the events at which `metric` was measured and finite.

    Of several values at the same frame the last one counts.
    """
    if metric not in table:
        return np.empty(0), np.empty(0)
    frames, values = table["frames"], table[metric]
    keep = np.isfinite(values)
    frames, values = frames[keep], values[keep]
    last = np.diff(frames, append=np.inf) > 0
    return frames[last], values[last]


def is_run(folder: Path) -> bool:
    """Tell whether this is a run directory."""
    return (folder / SUMMARY).is_file()


def find_runs(places: Sequence[Path]) -> list[Path]:
    """Return the run directories that `places` are or contain, each once."""
    found: dict[Path, Path] = {}
    for place in places:
        if not place.is_dir():
            raise UsageError(f"'{place}' is no folder; give a run directory or a folder above several.")
        here: list[Path] = []
        for folder, inner, files in os.walk(place):
            if SUMMARY in files:
                inner.clear()  # a run holds no other runs, but many files of W&B and videos
                here.append(Path(folder))
        if not here:
            raise UsageError(f"no run found in '{place}': there is no {SUMMARY} in it or below.")
        for folder in here:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def load_run(path: Path, metric: str, others: Iterable[str]) -> RunRecord:
    """Read one run directory, with the curves of `metric` and of `others`.

    Raises:
        UsageError: if a file is missing or unreadable, or a metric is unknown or, in a finished run, empty.
    """
    summary = read_json(path / SUMMARY)
    kinds = {"exp": str, "memory": str, "seed": int, "status": str}
    if wrong := [key for key, kind in kinds.items() if not isinstance(summary.get(key), kind)]:
        raise UsageError(f"'{path / SUMMARY}' is no summary of a run: it lacks a valid {', '.join(wrong)}.")
    if (status := summary["status"]) not in STATUSES:
        raise UsageError(f"'{path / SUMMARY}': unknown status '{status}'; allowed: {', '.join(STATUSES)}.")
    wanted = ("frames", "updates", "wall_s", "score", "best_score")
    numbers = {key: _number(summary, key, path / SUMMARY) for key in wanted}
    numbers["total_frames"] = total_frames(path)
    finished = status in ENDED
    tables: list[Table] = []
    if finished or (path / "metrics.csv").exists():  # else it ended before its first log line
        tables = [read_table(path / "metrics.csv"), read_table_if_any(path / "timing.csv")]
    curves = {name: _curve(path, tables, name, numbers, finished=finished) for name in (metric, *others)}
    evaluation, outdated = {}, False
    if (source := path / EVALUATION).exists():
        evaluation = read_json(source)
        numbers |= {f"evaluation {key}": _number(evaluation, key, source) for key in EVALUATED}
        newest = numbers["frames"] if evaluation.get("checkpoint") == "last" else _best_at(tables)
        outdated = _number(evaluation, "frames", source) < newest
    if (source := path / evaluation_file("random")).exists():
        numbers[RANDOM_PLAY] = _number(read_json(source), "mean", source)
    return RunRecord(
        path=path,
        commit=str(summary.get("commit") or "?"),
        numbers=numbers,
        evaluated={key: evaluation[key] for key in HOW if key in evaluation},
        outdated=outdated,
        curve=curves[metric],
        curves=curves,
        **{key: summary[key] for key in kinds},
    )


def total_frames(path: Path) -> float:
    """Frames that a run was given, by its config.yaml; NaN if nothing says it."""
    try:
        found = re.search(r"^total_frames: (\d+)$", (path / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return math.nan
    return float(found[1]) if found else math.nan


def evaluation_file(policy: str) -> str:
    """Name the file in a run directory that holds the evaluation of a policy."""
    return EVALUATION if policy == "greedy" else f"evaluation_{policy}.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object; raises `UsageError` if it does not."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read '{path}': {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"cannot read '{path}': it holds no JSON object.")
    return content


def _number(content: Mapping[str, Any], key: str, source: Path) -> float:
    value = content.get(key)
    if value is not None and not isinstance(value, int | float):
        raise UsageError(f"'{source}': '{key}' must be a number, not {value!r}.")
    return math.nan if value is None else float(value)


def _curve(
    path: Path, tables: Sequence[Table], metric: str, numbers: Mapping[str, float], *, finished: bool
) -> SeedCurve:
    known = [name for table in tables for name in table if name != "frames"]
    if known and metric not in known:
        raise UsageError(f"unknown metric '{metric}'; allowed in '{path}': {', '.join(known)}.")
    frames, values = read_metric(next((table for table in tables if metric in table), {}), metric)
    if finished and not values.size:
        raise UsageError(f"'{path / 'metrics.csv'}' is empty for '{metric}', although the run finished.")
    final = float(values[-1]) if values.size else math.nan
    if metric == SCORE_METRIC and math.isfinite(numbers["score"]):
        final = numbers["score"]
    early = finished and numbers["frames"] < numbers["total_frames"]
    return SeedCurve(frames=frames, values=values, final=final, finished=finished, stopped_early=early)


def _best_at(tables: Sequence[Table]) -> float:
    """Frames of the best evaluation in training, the latest of equal ones: those of checkpoints/best.pt."""
    frames, values = read_metric(tables[0] if tables else {}, SCORE_METRIC)
    return float(frames[values == values.max()][-1]) if values.size else -math.inf
