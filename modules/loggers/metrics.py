"""Name, unit and meaning of every metric: the one schema of all logs."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Metric:
    """One measured number; what depends on the clock is `timing` and never stands in metrics.csv."""

    name: str
    unit: str
    meaning: str
    _: KW_ONLY
    timing: bool = False


METRICS: tuple[Metric, ...] = (
    Metric(
        "train/return_mean",
        "reward",
        "mean undiscounted return of the training episodes that ended since the last log event",
    ),
    Metric(
        "train/return_mean_50", "reward", "mean undiscounted return of the last 50 training episodes, or of all so far"
    ),
    Metric("train/length_mean", "frames", "mean length of the same episodes"),
    Metric("train/episodes", "count", "training episodes ended so far"),
    Metric("train/updates", "count", "optimiser steps so far"),
    Metric("train/epsilon", "share", "probability of a random action (ε-greedy)"),
    Metric("train/temperature", "value", "temperature of the softmax over values (Boltzmann)"),
    Metric("loss/q", "loss", "mean loss over the updates since the last log event"),
    Metric(
        "loss/td_error",
        "value",
        "mean absolute TD error |δ| over the same updates; rescaled where loss.rescale_eps > 0",
    ),
    Metric("loss/q_mean", "value", "mean predicted Q of the taken actions over the same updates; rescaled likewise"),
    Metric("loss/target_mean", "value", "mean target of that Q over the same updates; rescaled likewise"),
    Metric("loss/entropy", "nats", "mean entropy of the policy over the same updates (REINFORCE)"),
    Metric("loss/grad_norm", "norm", "mean norm of the gradient before clipping over the same updates"),
    Metric(
        "train/intrinsic_return_mean",
        "intrinsic reward",
        "mean sum of the intrinsic rewards, neither weighted nor discounted, of the training episodes that ended",
    ),
    Metric("intrinsic/reward_mean", "intrinsic reward", "mean intrinsic reward of a step, before β weights it"),
    Metric("intrinsic/episodic_mean", "1", "its part within the episode (NGU, algorithm 1): mean r_episodic"),
    Metric("intrinsic/alpha_mean", "1", "its part over the whole run: mean α, from 1 to L"),
    Metric(
        "intrinsic/inverse_loss",
        "nats",
        "mean cross-entropy of the action that the embedding is learned by, over the updates",
    ),
    Metric("intrinsic/inverse_accuracy", "share", "actions that it tells right"),
    Metric("intrinsic/rnd_loss", "1", "mean error of random network distillation over the updates"),
    Metric("meta/arm_mean", "number", "mean number of the arm over the training episodes that ended"),
    Metric("meta/greedy_arm", "number", "the arm that an evaluation at this moment plays"),
    Metric("replay/rows", "count", "rows in the replay"),
    Metric("replay/fill", "share", "rows in the replay / its capacity"),
    Metric("replay/padding", "share", "padded steps in the sampled rows"),
    Metric(
        "replay/delta_q_first",
        "share",
        "staleness of the recurrent state (R2D2, section 3): ‖q̂ − q‖ / |max q̂| at the first learned step, where q "
        "saw the whole episode",
    ),
    Metric("replay/delta_q_last", "share", "the same at the last learned step"),
    Metric("eval/return_mean", "reward", "mean undiscounted return of the greedy evaluation: the score"),
    Metric("eval/return_std", "reward", "standard deviation of its returns"),
    Metric("eval/return_min", "reward", "lowest of its returns"),
    Metric("eval/return_max", "reward", "highest of its returns"),
    Metric("eval/length_mean", "frames", "mean length of its episodes"),
    Metric("eval/episodes", "count", "number of its episodes"),
    Metric(
        "perf/frames_per_s",
        "frames/s",
        "frames collected since the last log event / time since then",
        timing=True,
    ),
    Metric("perf/updates_per_s", "1/s", "updates since the last log event / time since then", timing=True),
    Metric("perf/collect_share", "share", "share of that time spent on acting", timing=True),
    Metric("perf/learn_share", "share", "share of that time spent on sampling and learning", timing=True),
    Metric("perf/eval_share", "share", "share of that time spent on evaluation", timing=True),
    Metric("perf/wall_s", "s", "wall time of the run so far", timing=True),
)

HISTOGRAM = "meta/arms"  # of the arms over the training episodes of a log event, in TensorBoard and W&B
_NAMES = frozenset(metric.name for metric in METRICS)


def columns(*, timing: bool = False) -> tuple[str, ...]:
    """Return the names of metrics.csv (or of timing.csv) after `frames`, in the order of the table."""
    return tuple(metric.name for metric in METRICS if metric.timing == timing)


def check(names: Iterable[str]) -> None:
    """Raise KeyError for a name that is not in `METRICS`: a typo must not become an empty curve."""
    if unknown := sorted(set(names) - _NAMES):
        raise KeyError(f"unknown metric {', '.join(unknown)}: METRICS in modules/loggers/metrics.py has no such name")


def return_of(arm: int) -> str:
    """Name an arm's mean return in TensorBoard and W&B; two digits, so that the names sort."""
    return f"meta/return_of_arm/{arm:02d}"


def markdown() -> str:
    """Return docs/metrics.md."""
    return f"""# Metrics

Generated from `modules/loggers/metrics.py` with `python -m modules.loggers > docs/metrics.md`; do not edit.

The x of everything is `frames`: the environment steps collected so far, over all environments. `metrics.csv`
and `timing.csv` have the column `frames`, then one column per metric in the order below, and one row per log
event; a cell is empty where a metric was not measured at that event. TensorBoard and W&B use the same names.

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

TensorBoard and W&B have the histogram `{HISTOGRAM}` of the arms over these episodes, and `return_mean` as
`{return_of(0)}`, `{return_of(1)}`, … At the end of a run they get the pictures `arms` (arms.csv drawn) and
`visits` (how often each cell of the map was visited in the whole training, where the environment has a map).
"""


def _table(*, timing: bool) -> str:
    rows = [
        f"| `{m.name}` | {m.unit} | {m.meaning.replace('|', chr(92) + '|')} |" for m in METRICS if m.timing == timing
    ]
    return "\n".join(["| metric | unit | meaning |", "|---|---|---|", *rows])
