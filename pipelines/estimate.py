"""Estimate what actors and the learner can do: `python -m pipelines.estimate +exp=r2d2_atari collector=ray`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from modules.collect.sync import SyncCollection
from modules.learner.learner import Learner
from modules.process import tune
from modules.replay.cut_rows import CutRows
from modules.seeding import seed_for
from modules.spec import UsageError
from pipelines.agent.actor import worker_actor
from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_settings
from pipelines.config.schema import RunConfig, read
from pipelines.console.command import command
from pipelines.console.output import write
from pipelines.training.build import replay_of

USAGE = """python -m pipelines.estimate +exp=NAME [setting=value ...]
Acts, stores, draws and learns for some seconds, on one core. Says how many environment frames per second workers and
learner can do, what goes over the network, and what limits a run. Settings are those of pipelines.train."""
BATCHES = 10  # that are timed
PATIENCE = 300  # batches in which the replay must come to hold a batch of rows
WORKERS = (1, 2, 4, 8, 16, 64)
MB = 1e6


@dataclass(frozen=True)
class Costs:
    """Seconds on one core, of an environment frame or an update, and bytes.

    Attributes:
        act: of a frame, in an actor.
        store: of a frame, in the learner's process.
        draw: of a batch of rows.
        learn: of an update.
        updates: per frame.
        sent: bytes per frame from an actor to the learner.
        weights: bytes of a push to an actor.
    """

    act: float
    store: float
    draw: float
    learn: float
    updates: float
    sent: float
    weights: float

    @property
    def learner(self) -> float:
        """Of a frame in the learner's process."""
        return self.store + self.updates * (self.draw + self.learn)


def measure(run: RunConfig) -> Costs:
    """Time the parts of a run with an untrained network; raises `UsageError` if no batch of rows comes together."""
    tune(threads=1)
    small = replace(run, replay=run.replay.with_room_for(4 * run.replay.batch_rows))
    with TemporaryDirectory(prefix="recall_estimate_") as folder:
        replay = replay_of(small, Path(folder), "", None)
        actor = worker_actor(small, 0)
        cutter = None if actor.cutter is None else actor.cutter()
        sent, act, store, frames = 0, 0.0, 0.0, 0
        with closing(SyncCollection(small.collector, actor)) as collection:
            actor.anneal(run.total_frames)
            collection.restart(seed_for(run.seed, "env"))
            batches = collection.batches(lambda: False)
            for number in range(PATIENCE):
                begin = process_time()
                _, batch, _ = next(batches)
                packed = None if cutter is None else CutRows(cutter.push(batch)).pack()
                middle = process_time()
                replay.extend(batch, 0, None if packed is None else CutRows.unpack(packed))
                if number >= 2:  # after what is only done once
                    act, store = act + middle - begin, store + process_time() - middle
                    sent += batch.bytes() if packed is None else len(packed)
                    frames += batch.numel()
                if number >= BATCHES and len(replay) >= run.replay.batch_rows:
                    break
            else:
                rows = f"{len(replay)} rows, fewer than replay.batch_rows={run.replay.batch_rows}"
                raise UsageError(f"replay.length={run.replay.length}: {PATIENCE} batches gave {rows}")
        draw, learn = learning(small, replay)
    planned = run.replay.planned_updates(10**6)
    weights = sum(parameter.numel() * 4 for network in actor.networks for parameter in network.parameters())
    return Costs(act / frames, store / frames, draw, learn, (planned or 0) / 10**6, sent / frames, weights)


def learning(run: RunConfig, replay: Any) -> tuple[float, float]:
    """Seconds to draw a batch of rows, and to learn from it."""
    network = run.network.build(run.spaces)
    learner = Learner(network, run.loss.build(run.loss_context(network)), run.optim, run.target, metric=run.loss.metric)
    spent = [0.0, 0.0]
    for number in range(BATCHES + 2):
        begin = process_time()
        rows = replay.sample()
        middle = process_time()
        learner.step(rows)
        if number >= 2:
            spent[0] += middle - begin
            spent[1] += process_time() - middle
    return spent[0] / BATCHES, spent[1] / BATCHES


def lines(run: RunConfig, costs: Costs) -> Iterator[str]:
    """Say it."""
    c, n = costs, run.collector.num_envs
    yield f"{run.name}: one core does"
    yield f"  {1 / c.act:12,.0f} frames/s of acting in {n} environments"
    yield f"  {1 / c.store:12,.0f} frames/s of storing"
    yield f"  {1 / c.draw:12,.1f} batches/s of drawing rows"
    yield f"  {1 / c.learn:12,.1f} updates/s of learning; one every {1 / c.updates:,.0f} frames" if c.updates else ""
    yield f"  {1 / c.learner:12,.0f} frames/s of all but acting"
    yield f"  {1 / (c.act + c.learner):12,.0f} frames/s of everything in turn (collector=sync)"
    yield f"an actor sends {c.sent:,.0f} bytes per frame; a push of weights is {c.weights / MB:,.1f} MB"
    yield ""
    yield "workers   environments   frames/s   to the learner [MB/s]   limit"
    for workers in WORKERS:
        acting = workers / c.act
        rate = min(acting, 1 / c.learner)
        limit = "acting" if acting < 1 / c.learner else "the learner"
        yield f"{workers:7}   {workers * n:12}   {rate:8,.0f}   {rate * c.sent / MB:21,.2f}   {limit}"
    yield ""
    yield "Each worker has a core of its own, and the learner another; with more threads or a GPU it learns faster."
    yield "What Ray and the network take comes on top: see docs/cluster.md."


def main(arguments: Sequence[str]) -> int:
    """Print an estimate."""
    if any(word in ("-h", "--help") for word in arguments):
        write(USAGE + "\n")
        return 0
    with command():
        run = read(compose_settings(arguments)[0])
        refuse_misfits(run)
        write("\n".join(lines(run, measure(run))) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
