"""What limits the numbers of a report: unfinished, repeated, unlike or outdated runs, few runs, shortened curves."""

from collections import Counter
from collections.abc import Iterator, Sequence

from modules.plots.runs import HOW
from modules.plots.statistics import common_curve
from pipelines.reporting.comparison import HELD_OUT, Group
from pipelines.reporting.variants import MISSING, differing, settings

METHOD = (
    "Intervals: 95 %, percentile bootstrap over runs. IQM: mean of the middle 50 % of the runs (Agarwal et al. 2021)."
)
WORDS = (
    "Score: mean return of the last greedy evaluation in training. Best score: the highest of those evaluations. "
    f"{HELD_OUT.capitalize()}: mean return on held-out episodes, by default of the checkpoint with the best score."
)
OUTDATED = "†"


def notes(groups: Sequence[Group], quantity: str, pruned: int = 0) -> list[str]:
    """Say all of it, one sentence or two each; `pruned` runs have been left out."""
    found = [METHOD, WORDS]
    runs = [run for group in groups for run in group.runs]
    if unfinished := sum(not run.curve.finished for run in runs):
        found.append(f"{unfinished} of {len(runs)} runs did not finish (bold): they count as far as they came.")
    if pruned:
        verb = "run was" if pruned == 1 else "runs were"
        found.append(f"{pruned} {verb} pruned by a study and left out: the means are of runs that were let finish.")
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
    curves = [run.curve for run in group.runs]
    if early := sum(curve.stopped_early for curve in curves):
        yield f"{early} of its {len(curves)} runs stopped early; its curve carries their last values on"
    grid = common_curve([(c.frames, c.values) for c in curves], [c.stopped_early for c in curves])[0]
    if not grid.size or grid[-1] < max(curve.frames[-1] for curve in curves if curve.frames.size):
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
