"""Say and draw what a study of Optuna found: `python -m pipelines.study run=SWEEP`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules.callbacks.study import FAILURES, load_study, optuna_or_refuse
from modules.files import refuse_unwritable
from modules.plots.study import Trial, importances, parallel_coordinates
from modules.spec import Spec, spec
from pipelines.config.settings import parse
from pipelines.console.command import command
from pipelines.console.output import write

USAGE = """python -m pipelines.study run=SWEEP
  run=SWEEP   folder of a sweep with hydra/sweeper=optuna (required)
Writes SWEEP/parallel_coordinates.png and SWEEP/importances.png, and lists the best trials."""
LISTED = 5
FEWEST = 3  # finished trials of which importances say anything


@spec
class Study(Spec):
    """Settings of the command."""

    run: Path


def describe(folder: Path) -> str:
    """Draw the pictures of the study in `folder`; return what there is to say.

    Raises:
        UsageError: no study is there.
    """
    study = load_study(folder)
    refuse_unwritable(folder, "run")
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    failed = [trial for trial in trials if trial not in ended and trial.user_attrs.get(FAILURES)]
    whole = [trial for trial in ended if trial.state.name == "COMPLETE"]
    if not ended:
        return f"{folder}: no trial has ended yet"
    written = [draw_trials(ended, folder)]
    if len(whole) >= FEWEST and len(ended[0].params) > 1:
        optuna = optuna_or_refuse()
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        written.append(importances(shares, folder / "importances.png"))
    best = sorted(whole, key=lambda trial: trial.value, reverse=study.direction.name == "MAXIMIZE")[:LISTED]
    beside = f"; {len(failed)} failed" if failed else ""
    pruned = len(ended) - len(whole)
    lines = [f"{len(ended)} trials, {pruned} of them pruned{beside}; the best by mean return over seeds:"]
    lines += [
        f"  {trial.value:.2f}  {' '.join(f'{key}={value}' for key, value in trial.params.items())}" for trial in best
    ]
    return "\n".join([*lines, *map(str, written)])


def draw_trials(ended: Sequence[Any], folder: Path) -> Path:
    """Draw the trials that have ended."""
    trials = [Trial(trial.params, trial.value if trial.state.name == "COMPLETE" else None) for trial in ended]
    log = [name for name, kind in ended[0].distributions.items() if getattr(kind, "log", False)]
    return parallel_coordinates(trials, log, folder / "parallel_coordinates.png")


def main(arguments: Sequence[str]) -> int:
    """Say and draw."""
    with command():
        write(describe(parse(Study, {}, arguments, USAGE).run) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
