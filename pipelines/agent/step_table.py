"""Every step of an evaluation: a table with one row each, and a picture of the first episodes."""

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from modules.evaluation import Callback, Step
from modules.files import naming_file, refuse_unwritable, write_whole
from modules.keys import Spaces
from modules.plots.episodes import episodes_over_steps

MAX_COLUMNS = 64  # numbers of an observation in the table; more are a picture, no columns
MAX_PANELS = 8  # numbers of an observation in the picture
SHOWN = 10  # episodes in the picture

log = logging.getLogger("recall")


@contextlib.contextmanager
def recording_steps(run_dir: Path, spaces: Spaces) -> Iterator[Sequence[Callback]]:
    """Yield callbacks for an evaluation; write episodes.csv and episodes.png of what they saw once it is over.

    Raises:
        UsageError: the folder cannot be written; nothing has been evaluated then.
        OSError: it cannot be any more, and that only when the evaluation is over: its result is not lost.
    """
    refuse_unwritable(run_dir, "run")
    size, shape = spaces.observation_size, list(spaces.observation_shape)
    for name, most in (("columns of their own in episodes.csv", MAX_COLUMNS), ("a picture episodes.png", MAX_PANELS)):
        if size > most:
            log.warning("observations %s have %d numbers, too many for %s (up to %d)", shape, size, name, most)
    first = FirstEpisodes(SHOWN if size <= MAX_PANELS else 0)
    with contextlib.closing(StepTable(run_dir, columns=size if size <= MAX_COLUMNS else 0)) as table:
        yield (table, first)
        table.write(run_dir / "episodes.csv")
    if shown := sorted(first.returns):
        observations = [np.stack(first.seen[episode]) for episode in shown]
        episodes_over_steps(run_dir, observations, [first.returns[episode] for episode in shown])


def shortest(reward: float) -> float | np.float32:
    """The same number, in float32 if that holds it: then as few digits are written as tell it from others there."""
    single = np.float32(reward)
    return single if float(single) == reward else reward


class StepTable(Callback):
    """Writes one line per step, episode after episode, and holds none in memory.

    Environments step together, so the lines of their episodes come mixed. Each environment has a file of its own until
    the end; that of an episode is found by its number: the one before it has ended in the same environment.

    Args:
        folder: where these files are; they have no names, and go with the process.
        columns: numbers of an observation, 0 to leave them out.
    """

    def __init__(self, folder: Path, *, columns: int) -> None:
        self._folder, self._columns = folder, columns
        self._files: dict[int, IO[bytes]] = {}  # by the first episode in it
        self._running: dict[int, IO[bytes]] = {}  # by the episode that runs
        self._idle: dict[int, IO[bytes]] = {}  # by the last episode in it
        self._failed: OSError | None = None  # the first failure; `write` tells of it

    def on_episode_begin(self, episode: int, observation: np.ndarray) -> None:
        del observation
        if (file := self._idle.pop(episode - 1, None)) is None:
            try:
                file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `close`
            except OSError as error:
                self._failed = self._failed or error
                file = io.BytesIO()
            self._files[episode] = file
        self._running[episode] = file

    def on_step_end(self, step: Step) -> None:
        cells = [step.episode, step.number, step.action, shortest(step.reward), +step.terminated, +step.truncated]
        if self._columns:
            cells += list(step.observation.reshape(-1))
        if self._failed is None:
            try:
                self._running[step.episode].write((",".join(map(str, cells)) + "\n").encode())
            except OSError as error:
                self._failed = error

    def on_episode_end(self, episode: int, episode_return: float, length: int) -> None:
        del episode_return, length
        self._idle[episode] = self._running.pop(episode)

    def write(self, path: Path) -> None:
        """Put everything into one file, which appears when it is complete; raise `OSError` if anything is missing."""
        if self._failed is not None:
            with naming_file(path):
                raise self._failed
        names = [f"observation_{i}" for i in range(self._columns)] if self._columns > 1 else ["observation"]
        header = ["episode", "step", "action", "reward", "terminated", "truncated", *names[: self._columns]]

        def fill(file: IO[bytes]) -> None:
            file.write((",".join(header) + "\n").encode())
            for _, part in sorted(self._files.items()):
                part.seek(0)
                shutil.copyfileobj(part, file)

        write_whole(path, fill)

    def close(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # of what had no room, and is not wanted any more
                file.close()


class FirstEpisodes(Callback):
    """Keeps what was `seen` in the first episodes, of each [size] at every step and its end, and what they returned."""

    def __init__(self, episodes: int) -> None:
        self._episodes = episodes
        self.seen: dict[int, list[np.ndarray]] = {}
        self.returns: dict[int, float] = {}

    def on_episode_begin(self, episode: int, observation: np.ndarray) -> None:
        if episode < self._episodes:
            self.seen[episode] = [observation.reshape(-1)]

    def on_step_end(self, step: Step) -> None:
        if step.episode < self._episodes:
            self.seen[step.episode].append(step.next_observation.reshape(-1))

    def on_episode_end(self, episode: int, episode_return: float, length: int) -> None:
        del length
        if episode < self._episodes:
            self.returns[episode] = episode_return
