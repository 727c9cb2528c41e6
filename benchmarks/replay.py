"""Section about the replay: against a plain memory copy, and its sampling time as it grows."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import torch

from benchmarks.measure import Pace, Table, interleave, number
from benchmarks.subjects import PIXELS, STATE, fill, open_replay, process_of, run_of
from pipelines.config.schema import RunConfig

CAPACITIES = (10_000, 30_000, 100_000, 300_000, 1_000_000)  # steps


def replay(pace: Pace) -> Iterator[Table]:
    """Sampling against a plain memory copy of the same bytes, and against capacity."""
    yield against_copy(pace.part(2))
    yield against_capacity(pace.part(2))


def against_copy(pace: Pace) -> Table:
    """Compare with picking as many bytes in as many rows from one tensor in memory."""
    smaller = [f"replay.capacity={CAPACITIES[0]}", "warmup_frames=0"] if pace.quick else []
    rows = [copy_row(run_of(exp, *smaller), pace.part(2)) for exp in (PIXELS, STATE)]
    return Table(
        "Replay sampling against a plain memory copy",
        ["exp", "batch [kB]", "ours [µs]", "copy [µs]", "ours/copy (min–max)", "ours [GB/s]"],
        rows,
        notes=[
            "Ours: rows from the memory map on disk, which the page cache holds.",
            "Copy: index_select of as many rows and bytes from one tensor in memory.",
        ],
    )


def copy_row(run: RunConfig, pace: Pace) -> list[str]:
    """Compare one run's replay, filled."""
    with process_of(run), open_replay(run) as ours:
        fill(ours, run)
        size, rows = ours.sample().bytes(), run.replay.batch_rows
        plain = torch.randint(0, 256, (len(ours), size // rows), dtype=torch.uint8)
        sides = {"ours": ours.sample, "copy": lambda: plain.index_select(0, torch.randint(len(plain), (rows,)))}
        times = interleave(sides, pace)
    cost = times.speed("copy", "ours")
    micros = [number(1e6 * times.median(side)) for side in sides]
    return [run.name, number(size / 1e3), *micros, str(cost), number(size / times.median("ours") / 1e9)]


def against_capacity(pace: Pace) -> Table:
    """Compare full replays of growing capacity."""
    run = run_of(STATE)
    chosen = CAPACITIES[:3:2] if pace.quick else CAPACITIES
    with process_of(run), ExitStack() as stack:
        sides = {}
        for capacity in chosen:
            grown = replace(run, replay=replace(run.replay, capacity=capacity))
            ring = stack.enter_context(open_replay(grown))
            fill(ring, grown)
            sides[str(capacity)] = ring.sample
        times = interleave(sides, pace)
    first = str(chosen[0])
    rows = []
    for name in sides:
        growth = str(times.speed(first, name))
        rows.append([number(int(name)), number(1e6 * times.median(name)), growth])
    return Table(
        f"Replay sampling against capacity, {STATE}",
        ["capacity [steps]", "sample [µs]", "time over that of the first (min–max)"],
        rows,
        names=0,
    )
