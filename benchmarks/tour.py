"""Section about the grid tours: steps/s of the bare world, frames/s of acting, and seconds until a task is solved."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.acting import building, collecting
from benchmarks.measure import Pace, Table, interleave, number
from benchmarks.subjects import process_of, run_of
from modules import keys
from modules.envs.worlds.world import WorldEnv, WorldSpec, world_env
from modules.loggers.console import Progress
from pipelines.training.build import build
from pipelines.training.loop import Loop

TOUR = "tour"
TASKS = ("tmaze_both", "ruin_2swamp", "many_swamp")
COUNTS = (1, 64, 1024, 4096)


def tour(pace: Pace) -> Iterator[Table]:
    """Steps/s of the grid tours against the number of environments, acting with GRU 128, and a whole training."""
    yield stepping(pace.part(3))
    yield acting(pace.part(3))
    yield solving(pace)


def verdict(value: float, at_least: float) -> str:
    """Compare an absolute speed with what the project asks for."""
    return f"≥ {number(at_least)}: {'met' if value >= at_least else 'missed'}"


def stepping(pace: Pace) -> Table:
    """Step and reset with random actions, through TorchRL's environment interface."""
    rows = []
    counts = COUNTS[:2] if pace.quick else COUNTS
    run = run_of(TOUR)
    with process_of(run):
        for task in TASKS:
            worlds = {n: Walk(task, n) for n in counts}
            times = interleave({str(n): walk.step for n, walk in worlds.items()}, pace.part(len(TASKS)))
            speeds = [Walk.STEPS * n / times.median(str(n)) for n in counts]
            rows.append([task, *map(number, speeds), verdict(speeds[-1], 1e6) if counts[-1] == COUNTS[-1] else "–"])
    return Table(
        "Steps/s of the grid tours, random actions",
        ["task", *(f"N = {n}" for n in counts), "target"],
        rows,
        notes=[
            "One PyTorch thread unless said otherwise; TorchRL's step_and_maybe_reset, resets and maps included.",
            "The original program steps one environment 13 000 to 40 000 times a second.",
        ],
    )


class Walk:
    """N environments that walk at random."""

    STEPS = 20

    def __init__(self, task: str, n: int) -> None:
        spec = run_of(TOUR, f"env.task={task}").env
        assert isinstance(spec, WorldSpec)
        self.env = WorldEnv(spec.world(), n)
        self.env.set_seed(0)
        self.td = self.env.reset()
        self.actions: Tensor = torch.randint(3, (self.STEPS, n))

    def step(self) -> None:
        """Take `STEPS` steps."""
        for action in self.actions:
            _, self.td = self.env.step_and_maybe_reset(self.td.set(keys.ACTION, action))


def acting(pace: Pace) -> Table:
    """Collect with the whole pipeline: policy, transforms, TorchRL's Collector."""
    n = 64 if pace.quick else 1024
    long = (
        "total_frames=1_000_000",
        "replay.capacity=1_000_000",
        "log_every=500_000",
        "save_every=500_000",
        "eval_every=0",
    )
    run = run_of(TOUR, "env.task=tmaze_both", f"collector.num_envs={n}", *long)
    with process_of(run), building(run) as parts:
        assert isinstance(world_env(parts.evaluator.env), WorldEnv)
        times = interleave({"ours": collecting(parts)}, pace)
    speed = run.collector.frames_per_batch / times.median("ours")
    cells = [run.network.memory.name, str(n), number(speed), verdict(speed, 1e5) if n == 1024 else "–"]
    return Table("Acting in tmaze_both", ["memory", "environments", "frames/s", "target"], [cells])


def solving(pace: Pace) -> Table:
    """Train until the greedy return is the optimum, 1.2, and time all of it."""
    frames = 400 if pace.quick else 5_000
    run = run_of(TOUR, "env.task=tmaze_both", "stop_at_score=1.19", f"total_frames={frames}", "video=false")
    with process_of(run), TemporaryDirectory(prefix="recall_benchmark_") as directory:
        start = time.perf_counter()
        parts = build(run, Path(directory), {}, None)
        loop = Loop(parts, Progress(frames, 0, bar=False))
        try:
            loop.train()
        finally:
            parts.close()
            parts.logger.finish({})
        seconds = time.perf_counter() - start
    counters = loop.counters
    score = counters.score["eval/return_mean"]
    solved = score > 1.19
    cells = [str(run.seed), number(counters.frames), number(score), number(seconds)]
    return Table(
        "Training tmaze_both to 1.20",
        ["seed", "frames", "greedy return", "seconds", "target"],
        [[*cells, f"≤ 60: {'met' if solved and seconds <= 60 else 'missed'}"]],
        notes=["Building, acting, learning and the evaluations that end it."],
    )
