"""Section about R2D2: its learner, its priorities, its processes and its rows."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.acting import building
from benchmarks.learning import learner_row, learning, shape
from benchmarks.measure import Missing, Pace, Table, Times, interleave, number, target
from benchmarks.subjects import PIXELS, R2D2, fill, open_replay, process_of, run_of
from modules import keys
from modules.collect import Collected, MultiAsyncSpec
from modules.collect.divided import AHEAD
from pipelines.config.schema import RunConfig
from pipelines.training.build import Parts

# What algo=r2d2 sets of the priorities, which the uniform replay does not have.
UNIFORM = ("replay=sequence",)
EPISODE_ROWS = 5  # of a filled replay: most rows then have a burn-in
# Acting writes nothing to the ring; a worker has one PyTorch thread, and so has this process then.
ACTING = ("replay.capacity=20_000", "threads=1")
ENTRIES = {
    "observations": (keys.OBSERVATION,),
    "actions": (keys.ACTION,),
    "rewards": (keys.REWARD,),
    "terminated, mask": (keys.TERMINATED, keys.MASK),
    "recurrent state": (),  # what the memory of the run says
    "row before, previous step": (keys.PREVIOUS_ROW_ID, keys.PREVIOUS_ACTION, keys.PREVIOUS_REWARD),
}


def r2d2(pace: Pace) -> Iterator[Table | Missing]:
    """R2D2's learner against bare PyTorch, priorities against none, 2 processes against 1, and bytes on disk."""
    yield learner(pace.part(3))
    yield priorities(pace.part(3))
    yield processes(pace.part(3))
    yield from disk()


def learner(pace: Pace) -> Table:
    """Updates/s against a bare PyTorch step of the same network and maths."""
    return Table(
        "R2D2's learner against a bare PyTorch step",
        ["exp", "batch", "ours [updates/s]", "bare [updates/s]", "ratio (min–max)", "target"],
        [learner_row(run_of(R2D2), pace)],
        notes=[
            "An update: burn-in, n-step double Q, importance weights, backward, clip, fused Adam, target.",
            "The same batch again and again, no sampling. Before the timing both sides had equal losses.",
            "Bare: the burn-in leaves out the head, whose values nobody reads.",
            "Ours also measures |δ|, mean Q and target, keeps the |δ| of each step and refuses what is not finite.",
        ],
        names=2,
    )


def priorities(pace: Pace) -> Table:
    """Sample, learn and write back, with and without priorities."""
    runs = {"prioritised": run_of(R2D2), "uniform": run_of(R2D2, *UNIFORM)}
    with process_of(runs["prioritised"]), ExitStack() as stack:
        sides = {name: whole_update(run, stack) for name, run in runs.items()}
        times = interleave(sides, pace)
    ratio = times.speed("prioritised", "uniform")
    speeds = [number(1 / times.median(side)) for side in sides]
    run = runs["prioritised"]
    return Table(
        "Prioritised against uniform replay, end to end",
        ["exp", "batch", "prioritised [updates/s]", "uniform [updates/s]", "ratio (min–max)", "target"],
        [[run.name, shape(run), *speeds, str(ratio), target(ratio, 0.9)]],
        notes=[
            "An update from end to end: sample from the full replay on disk, learn, write the priorities back.",
            f"The full replay has {number(run.replay.capacity_rows)} rows. Uniform: the same run with replay=sequence.",
            "What both do alike, acting and writing rows, is left out; it would bring the two closer.",
        ],
        names=2,
    )


def whole_update(run: RunConfig, stack: ExitStack) -> Callable[[], None]:
    """Return one turn of the loop's learning, on a full replay."""
    replay, ours = stack.enter_context(open_replay(run)), learning(run).learner
    fill(replay, run, episode_rows=EPISODE_ROWS)

    def call() -> None:
        rows = replay.sample()
        _, errors = ours.step(rows.to(run.torch_device))
        assert errors is not None
        replay.update(rows, errors)

    return call


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(pace: Pace) -> Table | Missing:
    """Collect pixels with two worker processes, with one, and in this process."""
    title = "Acting with 2 processes against 1"
    if cores() < 2:
        return Missing(title, "two processes need two CPU cores, and there is one.")
    runs = {
        "2 workers": run_of(PIXELS, *ACTING, "collector=multi_async", "collector.processes=2"),
        "1 worker": run_of(PIXELS, *ACTING, "collector=multi_async", "collector.processes=1"),
        "this process": run_of(PIXELS, *ACTING),
    }
    with process_of(runs["this process"]), ExitStack() as stack:
        sides = {name: Collecting.of(stack.enter_context(building(run))) for name, run in runs.items()}
        times = take_turns(sides, pace)
    frames = runs["this process"].collector.frames_per_batch
    rows = []
    for name, run in runs.items():
        ratio = times.speed("2 workers", name)
        verdict = "–" if name == "2 workers" else target(ratio, 1.6)
        rows.append([name, str(run.collector.total_envs), number(frames / times.median(name)), str(ratio), verdict])
    return Table(
        f"{title}, {PIXELS}",
        ["acting", "environments", "frames/s", "2 workers over this (min–max)", "target"],
        rows,
        notes=[
            f"{runs['this process'].collector.num_envs} environments and one PyTorch thread in each process.",
            "Workers: collector=multi_async; this process: collector=sync. Nothing is stored or learned meanwhile.",
            f"{cores()} CPU cores. Batches that workers had ready, up to {AHEAD} each, are not counted.",
        ],
    )


@dataclass(frozen=True)
class Collecting:
    """Collection by `workers` processes (0: by this one)."""

    batches: Iterator[Collected]
    workers: int

    @classmethod
    def of(cls, parts: Parts) -> "Collecting":
        """Take it from the parts of a run."""
        settings = parts.run.collector
        return cls(iter(parts.collection), settings.processes if isinstance(settings, MultiAsyncSpec) else 0)

    def take(self, batches: int) -> float:
        """Seconds per batch of at least `batches`, while the workers are as busy at the end as at the start."""
        ready, each = AHEAD * self.workers, max(1, self.workers)
        for _ in range(ready):
            next(self.batches)
        count = -(-batches // each) * each
        start = time.perf_counter()
        for _ in range(count):
            next(self.batches)
        seconds = (time.perf_counter() - start) / count
        time.sleep(1.5 * ready * seconds)  # they fill what they have room for, in nobody else's time
        return seconds


def take_turns(sides: dict[str, Collecting], pace: Pace) -> Times:
    """Time all sides in turn, with an equal share of the time each; workers never run in another side's."""
    share = pace.section_s / (pace.rounds * len(sides))
    batches = {name: max(1, int(share / side.take(4))) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(pace.rounds):
        for name, side in sides.items():
            seconds[name].append(side.take(batches[name]))
    return Times(seconds)


def disk() -> Iterator[Table]:
    """Bytes per stored step against the least that can hold it, and where they are."""
    runs = [run_of(exp) for exp in (PIXELS, R2D2)]
    yield Table(
        "Bytes per stored step on disk",
        ["exp", "row [steps]", "stored [bytes/step]", "least [bytes/step]", "ratio", "target"],
        [disk_row(run) for run in runs],
        notes=[
            "A step of a row, learned or burn-in: what burn-in and overlap ask for is on both sides.",
            "Least: the observation, 4 bytes of reward, 1 of action, 1 each of terminated and mask, and the recurrent",
            "state that replay.state=stored asks for. Stored is more by the observation after a row's last step.",
            "Left out: padding at the ends of episodes, and spare rows of the ring for what checkpoints refer to: "
            + "; ".join(f"{run.name} {100 * spare(run):.0f} %" for run in runs)
            + ".",
        ],
    )
    parts = [[number(size) for size in sizes_of(run).values()] for run in runs]
    rows = [[name, *cells] for name, *cells in zip(ENTRIES, *parts, strict=True)]
    yield Table("Where the bytes of a row are", ["entry", *(f"{run.name} [bytes]" for run in runs)], rows)


def least_bytes(run: RunConfig) -> float:
    """Bytes that a step of a run must take: observation, action, reward, terminated, mask, its share of the state."""
    spaces = run.spaces
    action = 1 if spaces.n_actions <= 256 else 2
    state = sum(entry.bytes for entry in run.sequence_schema.states.values()) / run.sequence_schema.slots
    return spaces.observation_size * spaces.observation_dtype.itemsize + action + 4 + 1 + 1 + state


def disk_row(run: RunConfig) -> list[str]:
    """Compare a run's rows with the least."""
    steps, least = run.sequence_schema.slots, least_bytes(run)
    stored = run.sequence_schema.template(run.spaces).bytes() / steps
    verdict = "met" if stored / least <= 1.1 else "missed"
    return [run.name, str(steps), number(stored), number(least), number(stored / least), f"≤ 1.1: {verdict}"]


def spare(run: RunConfig) -> float:
    """Share of the capacity that the ring has on top of it."""
    rows = run.replay.ring_rows(run.save_every, run.collector.frames_per_batch)
    return rows / run.replay.capacity_rows - 1


def sizes_of(run: RunConfig) -> dict[str, int]:
    """Bytes of the entries of a row, grouped as in `ENTRIES`."""
    row = run.sequence_schema.template(run.spaces)
    groups = {name: group or tuple(run.network.state()) for name, group in ENTRIES.items()}
    return {name: sum(row[key].nbytes for key in group if key in row) for name, group in groups.items()}
