"""A sweeper on Optuna: seeds are averaged, hopeless trials end early, a killed study continues.

Hydra takes sweepers from this package only. `hydra-optuna-sweeper` 1.3 is not used: it needs Optuna < 3 and SQLAlchemy
< 2, hands no trial to a job, so that none could be pruned, and begins `n_trials` more whenever it is started.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger("recall")
SEED = "seed"
PRUNING = "++callbacks.pruning={{_target_:modules.callbacks.pruning.PruningSpec,trial:{},startup_trials:{},warmup:{}}}"


@dataclass
class OptunaSweeperConf:
    """Settings of the sweeper; comments are in docs/sweeps.md."""

    _target_: str = "hydra_plugins.recall_optuna.OptunaSweeper"
    n_trials: int = 20
    n_jobs: int = 1
    direction: str = "maximize"
    sampler_seed: int = 0
    prune: bool = True
    startup_trials: int = 5
    warmup: int = 0
    retries: int = 1
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="recall")


class OptunaSweeper(Sweeper):
    """Runs trials of one job per seed each; the study is `study.db` in the folder of the sweep."""

    def __init__(
        self,
        *,
        n_trials: int,
        n_jobs: int,
        direction: str,
        sampler_seed: int,
        prune: bool,
        startup_trials: int,
        warmup: int,
        retries: int,
        params: Mapping[str, str],
    ) -> None:
        self.n_trials, self.n_jobs, self.direction, self.sampler_seed = n_trials, n_jobs, direction, sampler_seed
        self.pruning = (startup_trials, warmup) if prune else None
        self.retries, self.later = retries, set[int]()  # numbers of the trials that the next sitting retries
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run what is left of `n_trials`: first the trials that were killed or failed before, then new ones."""
        from modules.callbacks.study import create_study
        from pipelines.config.sweep_names import MULTIRUN

        assert self.hydra_context is not None
        assert self.config is not None
        words = [*(f"{name}={value}" for name, value in self.params.items()), *arguments]
        parsed = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(words)
        given = {it.get_key_element(): it for it in parsed}  # a later word counts
        space = {key: distribution(it) for key, it in given.items() if it.is_sweep_override() and key != SEED}
        self.fixed = [it.input_line or "" for key, it in given.items() if key not in space and key != SEED]
        self.seeds = [*given[SEED].sweep_string_iterator()] if SEED in given and given[SEED].is_sweep_override() else []
        self.seeds = [f"{SEED}={value}" for value in self.seeds] or [
            it.input_line or "" for key, it in given.items() if key == SEED
        ]
        if self.config.dry:
            log.info("dry run: all ends and choices of the study are sound")
            return
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / MULTIRUN)
        study = create_study(folder, self.direction, self.sampler_seed)
        failed = []
        while trials := self.next_trials(study, space):
            failed += self.run(study, trials)
        best = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        if best:
            log.info("best of %d trials: %s, %.2f", len(study.trials), study.best_params, study.best_value)
        for job in failed:
            _ = job.return_value  # raises what made it fail

    def next_trials(self, study: Any, space: Mapping[str, Any]) -> list[Any]:
        """Up to `n_jobs` trials to run at once."""
        import optuna  # pyright: ignore[reportMissingImports] - an extra

        known = study.get_trials(deepcopy=False)
        running = [trial for trial in known if trial.state == optuna.trial.TrialState.RUNNING]
        killed = [trial for trial in running if trial.number not in self.later]
        again = [optuna.trial.Trial(study, trial._trial_id) for trial in killed[: self.n_jobs]]
        more = min(self.n_jobs - len(again), self.n_trials - len(known))
        return again + [study.ask(dict(space)) for _ in range(more)]

    def run(self, study: Any, trials: Sequence[Any]) -> list[JobReturn]:
        """Run each trial's first seed, and the others of those that are not pruned; return the jobs that failed."""
        import optuna  # pyright: ignore[reportMissingImports] - an extra

        assert self.launcher is not None
        words = [[*self.fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
        first, *others = self.seeds or [""]
        jobs = []
        for trial, own in zip(trials, words, strict=True):
            pruning = [PRUNING.format(trial.number, *self.pruning)] if self.pruning else []
            jobs.append([*own, *filter(None, [first]), *pruning])
        results = [[job] for job in self.launcher.launch(jobs, initial_job_idx=trials[0].number)]
        study_trials = study.get_trials(deepcopy=True)
        pruned = [bool(study_trials[trial.number].user_attrs.get("pruned")) for trial in trials]
        going_on = [i for i, job in enumerate(results) if job[0].status == JobStatus.COMPLETED and not pruned[i]]
        if others and going_on:
            jobs = [[*words[i], seed] for i in going_on for seed in others]
            found = iter(self.launcher.launch(jobs, initial_job_idx=trials[0].number))
            for i in going_on:
                results[i] += [next(found) for _ in others]
        failed = []
        for trial, done, early in zip(trials, results, pruned, strict=True):
            bad = [job for job in done if job.status != JobStatus.COMPLETED]
            failed += bad
            if bad:
                self.note_failure(study, trial)
            elif early:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, sum(float(job.return_value) for job in done) / len(done))
        return failed

    def note_failure(self, study: Any, trial: Any) -> None:
        """Leave a trial that failed to the next sitting, which continues its runs; after `retries` it stays failed.

        It is not told of as failed before, because a trial that has ended takes no more reports.
        """
        import optuna  # pyright: ignore[reportMissingImports] - an extra

        from modules.callbacks.study import FAILURES

        failures = trial.user_attrs.get(FAILURES, 0) + 1
        trial.set_user_attr(FAILURES, failures)
        if failures > self.retries:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.later.add(trial.number)


def distribution(override: Override) -> Any:
    """What Optuna draws from for one word of the space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # pyright: ignore[reportMissingImports] - an extra

    value = override.value()
    if isinstance(value, IntervalSweep):
        log_scale = "log" in value.tags
        assert value.start is not None
        assert value.end is not None
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log_scale)
        return FloatDistribution(value.start, value.end, log=log_scale)
    if isinstance(value, RangeSweep) and not value.shuffle:
        numbers, step = [*value.range()], abs(value.step)
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(step))
        return FloatDistribution(numbers[0], numbers[-1], step=step)
    return CategoricalDistribution([*override.sweep_string_iterator()])
