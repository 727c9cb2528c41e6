"""A run in progress: what is counted, who asks it to end, and what callbacks see of it."""

import signal
from pathlib import Path
from time import perf_counter

from modules import checkpoint
from modules.evaluation import Watch
from modules.loggers import Logger, Progress
from modules.seeding import fork_rngs
from pipelines.console.signals import Stop
from pipelines.training.build import Parts
from pipelines.training.counters import Counters
from pipelines.training.jobs import is_abandoned


class RunInProgress:
    """Implements `modules.callbacks.Training`."""

    def __init__(self, parts: Parts, progress: Progress) -> None:
        self.parts = parts
        self.run = parts.run
        self.counters = Counters()
        self.stop_signal = 0  # set by a signal handler
        self.progress = progress
        self._clock = perf_counter()

    def obey(self) -> None:
        """Raise `Stop` if the run is asked to end."""
        if self._must_end():
            raise Stop(self.stop_signal or signal.SIGTERM)

    @property
    def frames(self) -> int:
        """Environment steps collected so far."""
        return self.counters.frames

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        return self.parts.learner.updates

    @property
    def episodes(self) -> int:
        """Training episodes that ended so far."""
        return self.counters.episodes

    @property
    def wall_s(self) -> float:
        """Seconds spent so far, over all sittings."""
        return self.counters.wall_s + perf_counter() - self._clock

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""
        return self.parts.run_dir

    @property
    def logger(self) -> Logger:
        """Where tables, pictures and films are shown."""
        return self.parts.logger

    def save_policy(self, path: Path) -> None:
        """Write what is evaluated at this moment."""
        checkpoint.write(path, self.parts.policy_state(self.counters.frames))

    def film(self, path: Path) -> None:
        """Film greedy episodes of what is evaluated at this moment."""
        with fork_rngs():
            self.parts.evaluator.film(path, self._watch("filming"))

    def _must_end(self) -> bool:
        return bool(self.stop_signal) or is_abandoned()

    def _watch(self, what: str) -> Watch:
        def watch(ended: int, episodes: int) -> None:
            self.obey()
            self.progress.wait(what, ended, episodes)

        return watch
