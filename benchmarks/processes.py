"""Section about where actors run: this process, others on this machine, or a Ray cluster."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

import psutil

from benchmarks.acting import building
from benchmarks.measure import Missing, Pace, Ratio, Table, number
from benchmarks.subjects import PIXELS, STATE, Trainer, process_of, run_of

WORDS = ("collector.steps=20", "threads=1", "warmup_frames=0")
SIDES = {
    "sync": ("collector.num_envs=16",),
    "multi_async, 1 process": ("collector=multi_async", "collector.processes=1", "collector.num_envs=16"),
    "multi_async, 2 processes": ("collector=multi_async", "collector.processes=2", "collector.num_envs=8"),
    "ray, 2 workers": ("collector=ray", "collector.num_workers=2", "collector.num_envs=8"),
}
TARGETS = {PIXELS: 1.10, STATE: 1.25}  # CPU per frame of ray over multi_async with as many processes


def processes(pace: Pace) -> Iterator[Table | Missing]:
    """Acting in this process, in others, and on Ray: frames/s, CPU per frame of all processes, what learners wait."""
    sides = dict(SIDES)
    if find_spec("ray") is None:
        yield Missing("ray", "Ray is not installed: pip install -c constraints.txt -e '.[ray]'.")
        sides.popitem()
    for exp in (STATE, PIXELS):
        yield compare(exp, sides, pace)


class Spent(NamedTuple):
    """What a window took: frames, wall seconds, CPU seconds of all processes of a side, seconds of waiting."""

    frames: int
    wall: float
    cpu: float
    waited: float


class Side:
    """One run that acts, or acts and learns, for a while at a time; the processes that it started are its own."""

    def __init__(self, exp: str, words: Sequence[str], stack: ExitStack) -> None:
        before = set(psutil.Process().children(recursive=True))
        run = run_of(exp, *WORDS, *words)
        stack.enter_context(process_of(run))
        parts = stack.enter_context(building(run))
        self._batches = iter(parts.collection)
        next(self._batches)
        self._others = [p for p in psutil.Process().children(recursive=True) if p not in before]
        self._trainer = Trainer(parts)

    def spend(self, seconds: float, *, learns: bool) -> Spent:
        """Act, and learn as often as the replay's ratio asks, for so long."""
        frames, waited, cpu, begin = 0, 0.0, self._cpu(), time.perf_counter()
        while time.perf_counter() - begin < seconds:
            asked = time.perf_counter()
            collected = next(self._batches)
            waited += time.perf_counter() - asked
            frames += collected.batch.numel()
            if learns:
                self._trainer.take(collected)
        return Spent(frames, time.perf_counter() - begin, self._cpu() - cpu, waited)

    def _cpu(self) -> float:
        found = sum(psutil.Process().cpu_times()[:2])
        for process in self._others:
            try:
                found += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:  # of Ray's helpers some end early
                continue
        return found


def compare(exp: str, words: dict[str, Sequence[str]], pace: Pace) -> Table:
    """Measure all sides in turn."""
    rounds, window = (2, 1.0) if pace.quick else (pace.rounds, 3.0)
    with ExitStack() as stack:
        sides = {name: Side(exp, of_side, stack) for name, of_side in words.items()}
        acting: dict[str, list[Spent]] = {name: [] for name in sides}
        learning: dict[str, list[Spent]] = {name: [] for name in sides}
        for spent, learns in ((acting, False), (learning, True)):
            for number_of_round in range(rounds + 1):
                for name, side in sides.items():
                    found = side.spend(window, learns=learns)
                    if number_of_round:  # after one that warms up
                        spent[name].append(found)
    return Table(
        f"Where actors run, {exp}",
        [
            "actors",
            "acting [frames/s]",
            "CPU per frame [µs]",
            "over multi_async (min–max)",
            "acting and learning [frames/s]",
            "waiting for batches",
            "target",
        ],
        [row(exp, name, acting, learning) for name in sides],
        notes=[
            "16 environments in all, batches of 20 steps, one PyTorch thread in each process; an untrained network.",
            "CPU of all processes of a side, Ray's own included. Over multi_async: with as many processes.",
            "Waiting: share of the time of acting and learning in which the learner's process waits for a batch; with "
            "sync it acts then.",
        ],
    )


def row(exp: str, name: str, acting: dict[str, list[Spent]], learning: dict[str, list[Spent]]) -> list[str]:
    """Cells of one side."""

    def of(found: Sequence[Spent], value: Callable[[Spent], float]) -> float:
        return median(map(value, found))

    like = "multi_async, 2 processes"
    over, aim = "–", "–"
    if name.startswith("ray"):
        pairs = [(a.cpu / a.frames) / (b.cpu / b.frames) for a, b in zip(acting[name], acting[like], strict=True)]
        ratio = Ratio(median(pairs), min(pairs), max(pairs))
        over, aim = str(ratio), f"≤ {TARGETS[exp]:g}: {'met' if ratio.median <= TARGETS[exp] else 'missed'}"
    return [
        name,
        number(of(acting[name], lambda s: s.frames / s.wall)),
        number(of(acting[name], lambda s: 1e6 * s.cpu / s.frames)),
        over,
        number(of(learning[name], lambda s: s.frames / s.wall)),
        f"{of(learning[name], lambda s: s.waited / s.wall):.0%}",
        aim,
    ]
