"""Name, unit and meaning of every metric that parts of Recall declare: `python -m pipelines.config.metrics_page`."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator

import modules
from modules.metrics import Metric, place
from modules.spec import Spec
from pipelines.config.schema import RunConfig


def known() -> dict[str, Metric]:
    """Collect the metrics of all specs, in the order of the tables."""
    found = {metric.name: metric for spec in specs() for metric in spec.metrics}
    return {name: found[name] for name in sorted(found, key=lambda name: (place(name), name))}


def specs() -> Iterator[type[Spec]]:
    """Yield the run's spec and those of all its parts."""
    for info in pkgutil.walk_packages(modules.__path__, "modules."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    yield RunConfig
    waiting = [Spec]
    while waiting:
        kind = waiting.pop()
        waiting += [inner for inner in kind.__subclasses__() if inner.__module__.startswith("modules.")]
        yield kind


def markdown() -> str:
    """Return docs/metrics.md."""
    return f"""# Metrics

Generated from what the parts declare with `python -m pipelines.config.metrics_page > docs/metrics.md`; do not edit.

The x of everything is `frames`: the environment steps collected so far, over all environments. `metrics.csv`
and `timing.csv` have the column `frames`, then one column for each metric that the parts of the run declare, and
one row per log event; a cell is empty where a metric was not measured at that event. TensorBoard and W&B use the
same names. A part of your own declares its metrics likewise, as the `metrics` of its spec; one that measures what
nobody declares ends the run with its name.

In `summary.json`, `evaluation.json` and reports:

- *score*: mean return of the last greedy evaluation in training, the last `eval/return_mean`;
- *best score*: the highest `eval/return_mean` of the run, which chose `checkpoints/best.pt`;
- *evaluation mean*: mean return on held-out episodes (`pipelines.evaluate`), by default of that best checkpoint.

## metrics.csv

The same bytes whenever a run is repeated, or killed and resumed, on the CPU with the same number of threads.

{_table(timing=False)}

## timing.csv

Everything that depends on the clock.

{_table(timing=True)}

## arms.csv

Only of a run with a family of policies (`meta` other than `none`): one row per log event and arm that ended an
episode since the last one. `meta/arm_mean` and `meta/greedy_arm` above say the same in one number.

| column | unit | meaning |
|---|---|---|
| `frames` | frames | as above |
| `arm` | number | of the arm; 0 has the smallest weight of the intrinsic reward and the largest discount |
| `episodes` | count | training episodes of that arm that ended since the last log event |
| `return_mean` | reward | their mean return, undiscounted |
| `intrinsic_return_mean` | intrinsic reward | their mean sum of the intrinsic rewards, unweighted |

TensorBoard and W&B have each number of it as a metric: `arms/return_mean/00`, `arms/return_mean/01`, … At the end of
a run they get the pictures `learning_curve`, `arms` (arms.csv drawn) and `visits` (how often each cell of the map was
visited in the whole training, where the environment has a map). [Dashboards](dashboards.md) says what else they get.
"""


def _table(*, timing: bool) -> str:
    rows = [
        f"| `{m.name}` | {m.unit} | {m.meaning.replace('|', chr(92) + '|')} |"
        for m in known().values()
        if m.timing == timing
    ]
    return "\n".join(["| metric | unit | meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.stdout.write(markdown())
