"""What limits the numbers of a report: unfinished, repeated, unlike or outdated runs, few runs, shortened curves."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modules.plots.runs import HOW
from modules.plots.statistics import common_curve
from modules.spec import UsageError
from pipelines.config.plugins import read_yaml, values_of
from pipelines.reporting.comparison import HELD_OUT, Group

METHOD = (
    "Intervals: 95 %, percentile bootstrap over runs. IQM: mean of the middle 50 % of the runs (Agarwal et al. 2021)."
)
WORDS = (
    "Score: mean return of the last greedy evaluation in training. Best score: the highest of those evaluations. "
    f"{HELD_OUT.capitalize()}: mean return on held-out episodes, by default of the checkpoint with the best score."
)
OUTDATED = "†"
# What may differ between runs of one kind: the seed, where they ran, and what they leave behind.
INCIDENTAL = ("name", "seed", "device", "threads", "logger", "log_every", "keep_checkpoints", "video", "dry")
MISSING = "–"  # in the place of a setting that one of the runs does not have


def notes(groups: Sequence[Group], quantity: str) -> list[str]:
    """Say all of it, one sentence or two each."""
    found = [METHOD, WORDS]
    runs = [run for group in groups for run in group.runs]
    if unfinished := sum(not run.curve.finished for run in runs):
        found.append(f"{unfinished} of {len(runs)} runs did not finish (bold): they count as far as they came.")
    if any(run.outdated for run in runs):
        found.append(
            f"{OUTDATED} The evaluation is older than the checkpoint: since then the run continued and saved a better "
            "one (with checkpoint=last, a newer one). Evaluate it again."
        )
    for group in groups:
        found += [f"{group.label}: {text}." for text in (*_limits(group, quantity), *_differences(group))]
    found.append(f"Commits: {', '.join(sorted({run.commit for run in runs}))}.")
    return found


def _limits(group: Group, quantity: str) -> Iterator[str]:
    n = group.samples[quantity].size
    if missing := len(group.runs) - n:
        yield f"{missing} of its runs have no {quantity} and are not in its statistics"
    if 0 < n < 5:
        yield "one run gives no interval" if n == 1 else f"intervals from {n} runs are too narrow"
    seeds = Counter(run.seed for run in group.runs)
    if again := [str(seed) for seed, count in seeds.items() if count > 1]:
        named = f"seed {again[0]} occurs" if len(again) == 1 else f"seeds {', '.join(again)} occur"
        yield f"{named} more than once, and equal seeds are not independent; the cells of --table take the newest run"
    curves = [(run.curve.frames, run.curve.values) for run in group.runs]
    grid, reached = common_curve(curves)[0], max((frames[-1] for frames, _ in curves if frames.size), default=0.0)
    if not grid.size or grid[-1] < reached:
        yield "its curve covers only the frames at which all its runs have data"


def _differences(group: Group) -> Iterator[str]:
    if len(group.runs) < 2:
        return
    configurations = [settings(run.path) for run in group.runs]
    known = [configuration for configuration in configurations if configuration is not None]
    if found := differing(known):
        yield f"its runs differ in {', '.join(found)}"
    if unknown := len(configurations) - len(known):
        yield f"{unknown} of its runs have no config.yaml, so nothing tells whether they are like the others"
    evaluated = [run.evaluated for run in group.runs if run.evaluated]
    unlike = {name: {item.get(name, MISSING) for item in evaluated} for name in HOW}
    words = [f"{name} ({', '.join(sorted(map(str, v)))})" for name, v in unlike.items() if len(v) > 1]
    if words:
        yield f"its evaluations differ in {', '.join(words)}"
    outdated = sum(run.outdated for run in group.runs)
    if outdated and HELD_OUT in group.samples:
        yield f"its {HELD_OUT} includes {outdated} outdated evaluation{'s' * (outdated > 1)} ({OUTDATED})"


def settings(run_dir: Path) -> dict[str, Any] | None:
    """Read a run's configuration without what is incidental; None if it has none.

    Raises:
        UsageError: if it is there and cannot be read.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        return None
    try:
        content = values_of(read_yaml(path))
    except UsageError as error:
        raise UsageError(f"cannot read '{path}': {str(error).removeprefix(f'{path}: ')}.") from error
    return {str(name): value for name, value in content.items() if name not in INCIDENTAL}


def differing(nodes: Sequence[Any], path: str = "") -> list[str]:
    """Name the settings in which configurations differ, dotted.

    Of parts of different kinds (`_target_`) only what all of them have is compared.
    """
    if not all(isinstance(node, dict) for node in nodes):
        return [] if all(node == nodes[0] for node in nodes) else [path]
    names = dict.fromkeys(name for node in nodes for name in node)
    if any(node.get("_target_") != nodes[0].get("_target_") for node in nodes):
        names = [name for name in names if all(name in node for node in nodes)]
    return [
        found
        for name in names
        for found in differing([node.get(name, MISSING) for node in nodes], f"{path}.{name}".lstrip("."))
    ]
