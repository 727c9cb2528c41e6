"""Section about compressed rows: how much smaller they are, and what they cost."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tensordict import TensorDictBase

from benchmarks.actors import as_new, record, run_with
from benchmarks.measure import Missing, Pace, Table, interleave, number
from benchmarks.subjects import open_replay, process_of, run_of
from modules.errors import close_quietly
from modules.replay.base import Replay
from pipelines.config.schema import RunConfig
from pipelines.training.build import build

TITLE = "Compressed rows against the memory map, r2d2_atari, a random policy"
NEW = 40  # steps of each row that the row before has not
GAMES, STACKS = ("Pong", "Breakout", "Seaquest"), (1, 4)
ROWS = 200  # in the replay; of a quick look a third
COSTS = ("write, time / memmap's (min–max)", "sample [ms]", "sample, time / memmap's (min–max)")
FILLED = (("memmap", 200_000), ("compressed", 200_000), ("compressed", 4_000_000))  # steps
SMALL = ("network.torso.out_features=16", "network.memory.hidden_size=16", "device=cpu", "warmup_frames=0")


def compression(pace: Pace) -> Iterator[Table | Missing]:
    """Compressed rows of Atari games against the memory map: bytes, times of writing and sampling, 4 M steps."""
    if find_spec("ale_py") is None:
        yield Missing(TITLE, "ale-py is not installed: pip install -c constraints.txt -e '.[atari]'.")
        return
    games, stacks = (GAMES[:1], STACKS[:1]) if pace.quick else (GAMES, STACKS)
    part = pace.part(2 * len(games) * len(stacks))
    rows = [game_row(game, stack, part) for game in games for stack in stacks]
    yield Table(
        TITLE,
        ["game", "frames stacked", "rows", "ratio", "row [kB]", *COSTS],
        rows,
        notes=[
            "Rows of 120 steps, 40 of them new; batches of 64. A trained policy shows other frames.",
            "Write: cut and store a batch of 160 steps. Sample: the rows of an update.",
        ],
    )
    yield full(pace)


def full(pace: Pace) -> Table:
    """Sample from as many compressed steps as R2D2's replay holds; a memory map of these would be 85 GB."""
    fewer = 20 if pace.quick else 1
    sizes = [(kind, steps // fewer) for kind, steps in FILLED]
    run = run_with("memmap", sizes[0][1] // NEW)
    with process_of(run), ExitStack() as stack:
        recorded = record(run, 10 if pace.quick else 60)
        replays = {}
        for kind, steps in sizes:
            replay = stack.enter_context(open_replay(run_with(kind, steps // NEW)))
            messages = cycle(recorded)
            while len(replay) < steps // NEW:
                batch, packed = next(messages)
                replay.extend(batch, 0, as_new(packed, told=True))
            replays[f"{kind}, {steps}"] = replay
        times = interleave({name: replay.sample for name, replay in replays.items()}, pace)
    first = next(iter(replays))
    return Table(
        "Sampling 64 rows of 120 steps from a full replay, Pong",
        ["replay/storage", "steps", "rows [GB]", "sample [ms]", "time over the first's (min–max)"],
        [
            [
                kind,
                number(steps),
                number(len(replay) * stored_bytes(run, replay.measures().get("replay/compression", 1)) / 1e9),
                number(1e3 * times.median(name)),
                str(times.speed(first, name)),
            ]
            for (kind, steps), (name, replay) in zip(sizes, replays.items(), strict=True)
        ],
        notes=[
            "Rows that an actor of a random policy cut, written again and again, one frame of 84 × 84 per step.",
            "A memory map of 4 M steps would be 85 GB.",
        ],
    )


def stored_bytes(run: RunConfig, ratio: float) -> float:
    """Bytes of a row whose observations shrink to 1 / `ratio`; its other entries are stored as they are."""
    schema, spaces = run.sequence_schema, run.spaces
    observations = (schema.slots + 1) * spaces.observation_size * spaces.observation_dtype.itemsize
    return schema.row_bytes(spaces) - observations + observations / ratio


def game_row(game: str, stack: int, pace: Pace) -> list[str]:
    """Measure one game."""
    count = ROWS // 3 if pace.quick else ROWS
    words = (f"env.id=ALE/{game}-v5", f"env.frame_stack={stack}", f"replay.capacity={40 * count}", *SMALL)
    runs = {kind: run_of("r2d2_atari", f"replay/storage={kind}", *words) for kind in ("memmap", "compressed")}
    run = runs["memmap"]
    with process_of(run), ExitStack() as stack_of:
        replays = {kind: stack_of.enter_context(open_replay(run)) for kind, run in runs.items()}
        batches = list(played(run, 40 * (count + 8)))
        for batch in batches:
            extend(replays, batch)
        writes = interleave(
            {kind: partial(extend, {kind: replay}, batches[0]) for kind, replay in replays.items()}, pace
        )
        samples = interleave({kind: replay.sample for kind, replay in replays.items()}, pace)
    return [
        game,
        str(stack),
        str(count),
        number(replays["compressed"].measures()["replay/compression"]),
        number(run.sequence_schema.row_bytes(run.spaces) / 1e3),
        str(writes.speed("memmap", "compressed")),
        number(1e3 * samples.median("compressed")),
        str(samples.speed("memmap", "compressed")),
    ]


def extend(replays: Mapping[str, Replay], batch: TensorDictBase) -> None:
    """Give replays a batch of steps, each its own copy."""
    for replay in replays.values():
        replay.extend(batch.clone())


def played(run: RunConfig, frames: int) -> Iterator[TensorDictBase]:
    """Yield batches of what the agent does before it has learned anything."""
    with TemporaryDirectory(prefix="recall_benchmark_") as directory:
        parts = build(run, Path(directory), {}, None)
        try:
            parts.collection.restart(run.seed)
            for _, batch, _ in islice(parts.collection, -(-frames // run.collector.frames_per_batch)):
                yield batch
        finally:
            close_quietly("the benchmark's environments", parts.close)
