"""Section about many actors: what the learner's side takes in, replayed from recorded rows."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import NamedTuple

import torch
from tensordict import TensorDictBase

from benchmarks.measure import Missing, Pace, Table, number
from benchmarks.subjects import learning, open_replay, process_of, run_of
from modules import keys
from modules.collect.divided import AHEAD
from modules.collect.sync import SyncCollection
from modules.learner.learner import Learner
from modules.replay.base import Replay
from modules.replay.cut_rows import CutRows
from modules.seeding import seed_for
from pipelines.agent.actor import worker_actor
from pipelines.config.schema import RunConfig

TITLE = "What the learner takes in"
AT_LEAST = 50_000  # frames per CPU second
WORKERS, ENVS = 8, 32  # 256 actors
ROWS = 2000  # in the replay
FEW = 100  # in one that is soon full
PAPER = 16_640  # agent steps per second of R2D2's 256 actors, at 260 frames of the emulator, four a step
EXP = "r2d2_atari"
WORDS = ("env.id=ALE/Pong-v5", "env.frame_stack=1", "device=cpu", "warmup_frames=0", "collector=multi_async")
TINY = ("network.torso.channels=[4,4,4]", "network.torso.out_features=16", "network.memory.hidden_size=16")


def actors(pace: Pace) -> Iterator[Table | Missing]:
    """Rows from many actors: frames taken in per CPU second, and the traffic of R2D2's 256 actors, replayed."""
    if find_spec("ale_py") is None:
        yield Missing(TITLE, "ale-py is not installed: pip install -c constraints.txt -e '.[atari]'.")
        return
    batches, rounds = (3 * pace.rounds + 1, 2 * pace.rounds - 1) if pace.quick else (60, 30)
    run = run_with("memmap", ROWS)
    with process_of(run):
        recorded = record(run, batches)
    yield ingest(recorded)
    yield traffic(recorded, rounds)


def run_with(storage: str, rows: int, *words: str) -> RunConfig:
    """R2D2 on Pong, one grey frame per step, with a tiny network and a replay of so many rows."""
    capacity = f"replay.capacity={40 * rows}"
    return run_of(EXP, *WORDS, *TINY, f"replay/storage={storage}", capacity, "collector.rows=actor", *words)


class Recorded(NamedTuple):
    """A batch as an actor has it, and the rows that it completed, packed."""

    batch: TensorDictBase
    rows: bytes


def record(run: RunConfig, count: int) -> list[Recorded]:
    """Let an actor play with an untrained network; the first batches complete no rows and are left out."""
    actor = worker_actor(run, 0)
    assert actor.cutter is not None
    cutter, found = actor.cutter(), []
    with closing(SyncCollection(run.collector, actor)) as collection:
        actor.anneal(0)
        collection.restart(seed_for(run.seed, "env"))
        for collected in collection:
            rows = cutter.push(collected.batch)
            if len(rows) or found:
                found.append(Recorded(collected.batch.clone(), CutRows(rows).pack()))
            if len(found) == count:
                return found
    raise AssertionError


def ingest(recorded: list[Recorded]) -> Table:
    """Write what an actor sent: whole batches, which the learner cuts, or ready rows."""
    rows = []
    for storage in ("memmap", "compressed"):
        run = run_with(storage, FEW, "save_every=1000")
        with process_of(run), ExitStack() as stack:
            ring = run.replay.ring_rows(run.save_every, run.collector.frames_per_batch)
            frames, written = sum(one.batch.numel() for one in recorded), sum(map(rows_of, recorded))
            cut, ready = (stack.enter_context(open_replay(run)) for _ in range(2))
            for replay, whole in ((cut, True), (ready, False)):
                for _ in range(1 + ring // written):  # once round, so that the disk's blocks are there
                    take(replay, recorded, whole=whole)
            seconds = [cpu_of(cut, recorded, whole=True), cpu_of(ready, recorded, whole=False)]
            size = sum(len(one.rows) for one in recorded)
        for who, spent in zip(("the learner", "the actors"), seconds, strict=True):
            rate, asked = frames / spent, who == "the actors"
            wanted = f"≥ {AT_LEAST:,}: {'met' if rate >= AT_LEAST else 'missed'}".replace(",", " ") if asked else "–"
            bytes_sent = size / frames if asked else recorded[0].batch.bytes() / recorded[0].batch.numel()
            rows.append([storage, who, number(rate), number(bytes_sent), wanted])
    return Table(
        TITLE,
        ["replay/storage", "rows are cut by", "frames per CPU second", "sent [bytes per frame]", "target"],
        rows,
        notes=[
            f"{EXP} on Pong, one frame of 84 × 84 per step, rows of 120 steps, 40 of them new; an untrained policy.",
            "A frame is a step of the agent. Ready rows come packed, and to unpack them is in the time; the compressed "
            "replay writes their blocks as they came.",
            "Rows are written over older ones. The first time, a file system has to find room for them, too.",
        ],
        names=2,
    )


def rows_of(one: Recorded) -> int:
    """How many rows a message has."""
    return len(CutRows.unpack(one.rows).entries)


def take(replay: Replay, recorded: list[Recorded], *, whole: bool) -> None:
    """Give a replay what was recorded."""
    for batch, rows in recorded:
        replay.extend(batch, 0, None if whole else CutRows.unpack(rows))


def cpu_of(replay: Replay, recorded: list[Recorded], *, whole: bool) -> float:
    """CPU seconds of taking it in once more."""
    start = time.process_time()
    take(replay, recorded, whole=whole)
    return time.process_time() - start


@dataclass
class Spent:
    """CPU seconds of each of the learner's tasks, and what was counted."""

    ingest: float = 0.0
    sample: float = 0.0
    learn: float = 0.0
    frames: int = 0
    updates: int = 0
    drawn: int = 0
    first: int = 0  # draws of rows that were not drawn before
    ages: list[int] = field(default_factory=list)  # frames since the weights of a batch, when it comes


def traffic(recorded: list[Recorded], rounds: int) -> Table:
    """Replay the messages of 256 actors into a real replay and learner, in the order in which workers would be done."""
    rows = []
    for ratio in (1.5, 8.0):
        run = run_with("compressed", 2 * ROWS, f"replay.ratio={ratio}")
        with process_of(run):
            for told in (True, False):
                spent = replayed(run, recorded, rounds, told=told)
                rows.append(
                    [
                        number(ratio),
                        "the actors" if told else "highest so far",
                        number(spent.frames / spent.ingest),
                        number(1e3 * spent.sample / spent.updates),
                        number(spent.frames / (spent.ingest + spent.sample)),
                        number(PAPER * spent.updates / spent.frames),
                        f"{spent.first / spent.drawn:.0%}",
                        f"{sum(spent.ages) / len(spent.ages):,.0f}".replace(",", " "),
                    ]
                )
    limit = "Without the network's own work, the limit that is met first is that of the smaller of both."
    return Table(
        f"Traffic of {WORKERS * ENVS} actors, replayed",
        [
            "learned per collected step",
            "first priority",
            "taken in [frames per CPU s]",
            "sample [CPU ms]",
            "both [frames per CPU s]",
            "updates/s at R2D2's pace",
            "first draws",
            "age of weights [frames]",
        ],
        rows,
        notes=[
            f"{WORKERS} workers with {ENVS} environments; a message has the rows of {ENVS} × 20 steps.",
            f"R2D2's pace: {PAPER:,} steps of the agent per second.".replace(",", " ") + f" {limit}",
            "First draws: share of the draws that are a row's first.",
            f"Age: frames of all actors since the weights of a batch when it comes; orders are {AHEAD} batches ahead.",
            "The network is tiny.",
        ],
        names=2,
    )


def replayed(run: RunConfig, recorded: list[Recorded], rounds: int, *, told: bool) -> Spent:
    """Take in `rounds` messages of each worker, and learn as often as the ratio asks."""
    spent, due = Spent(), 0.0
    per_message = ENVS // run.collector.num_envs  # recorded batches
    seen: set[int] = set()
    with open_replay(run) as replay:
        learner = learning(run).learner
        orders = [deque([0] * AHEAD) for _ in range(WORKERS)]
        at = 0
        for _ in range(rounds):
            for worker, ordered in enumerate(orders):
                for part in range(per_message):
                    batch, packed = recorded[at % len(recorded)]
                    at += 1
                    start = time.process_time()
                    replay.extend(batch, worker * per_message + part, as_new(packed, told=told))
                    spent.ingest += time.process_time() - start
                    spent.frames += batch.numel()
                    due += replay.updates_due(batch.numel())
                spent.ages.append(spent.frames - ordered.popleft())
                while due >= 1:
                    due -= 1
                    learn(replay, learner, spent, seen)
                ordered.append(spent.frames)
    return spent


def as_new(packed: bytes, *, told: bool) -> CutRows:
    """Unpack recorded rows, which follow no row of the stream that they are said to be of."""
    rows = CutRows.unpack(packed)
    entries = rows.entries if told else rows.entries.exclude(keys.PRIORITY)
    return rows._replace(entries=entries.set(keys.FOLLOWS, torch.zeros_like(entries[keys.FOLLOWS])))


def learn(replay: Replay, learner: Learner, spent: Spent, seen: set[int]) -> None:
    """Sample and learn once; note which rows were not drawn before."""
    times = [time.process_time()]
    rows = replay.sample()
    assert rows is not None  # no shards here
    times.append(time.process_time())
    _, errors = learner.step(rows)
    assert errors is not None
    replay.update(rows, errors)
    times.append(time.process_time())
    drawn = set(rows[keys.ROW].tolist())
    spent.sample += times[1] - times[0]
    spent.learn += times[2] - times[1]
    spent.updates += 1
    spent.drawn += len(rows)
    spent.first += len(drawn - seen)
    seen |= drawn
