"""End a hopeless trial of a study early."""

import warnings
from typing import Any

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.callbacks.study import load_study, optuna_or_refuse
from modules.evaluation import Episodes
from modules.metrics import SCORE
from modules.spec import Count, spec


@spec
class PruningSpec(CallbackSpec):
    """Settings of pruning: a run ends if its greedy return is below the median of the trials before, at the same frame.

    Attributes:
        trial: number of the trial that this run is of, in the study of the folder around the run's.
        startup_trials: finished ones before any is pruned.
        warmup: frames before which none is pruned.
    """

    trial: Count
    startup_trials: Count
    warmup: Count

    def build(self, context: Context) -> TrainingCallback:
        return Pruning(self)


class Pruning(TrainingCallback):
    """Reports each evaluation to the study, and asks for the end if its pruner says so."""

    prunes = True

    def __init__(self, settings: PruningSpec) -> None:
        self._settings = settings
        self._trial: Any = None

    def on_start(self, training: Training) -> None:
        optuna, study = optuna_or_refuse(), load_study(training.run_dir.parent)
        study.pruner = optuna.pruners.MedianPruner(self._settings.startup_trials, self._settings.warmup)
        trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
        mine: Any = trials.get(self._settings.trial)
        if mine is not None and not mine.state.is_finished():  # a run of an ended trial may be trained on
            self._trial = optuna.trial.Trial(study, mine._trial_id)

    def on_evaluation(self, training: Training, episodes: Episodes) -> None:
        if self._trial is None:
            return
        with warnings.catch_warnings():  # what was evaluated before a kill is reported again
            warnings.simplefilter("ignore")
            self._trial.report(episodes.metrics()[SCORE], training.frames)
        if self._trial.should_prune():
            self._trial.set_user_attr("pruned", True)
            self.should_stop = True
