"""Estimate what actors and the learner can do: `python -m pipelines.estimate +exp=r2d2_atari collector=ray`."""

import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from modules.collect.base import Actor
from modules.collect.divided import unpacked
from modules.collect.weights import as_vector, floats_of
from modules.collect.worker import ActorInWorker, Newest, Restart
from modules.intrinsic import IntrinsicContext
from modules.learner.learner import Learner
from modules.process import tune
from modules.replay.base import Replay
from modules.spec import UsageError
from pipelines.agent.actor import worker_actor
from pipelines.agent.agent_env import CPU
from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_settings
from pipelines.config.schema import RunConfig, read
from pipelines.console.command import command
from pipelines.console.output import write
from pipelines.training.build import replay_of, step_of

USAGE = """python -m pipelines.estimate +exp=NAME [setting=value ...]
Acts, stores, draws and learns for some seconds, on one core. Says how many environment frames per second workers and
learner can do, what goes over the network, and whether acting or learning limits a run. Settings: those of train."""
BATCHES = 10  # that are timed
LONG_S = 5.0  # of learning, which then is timed long enough
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
        weights: bytes of a push to the actors of a machine.
        push: of such a push, in the learner's process.
        pushes: per frame.
    """

    act: float
    store: float
    draw: float
    learn: float
    updates: float
    sent: float
    weights: float
    push: float
    pushes: float

    @property
    def learner(self) -> float:
        """Of a frame in the learner's process."""
        return self.store + self.updates * (self.draw + self.learn) + self.pushes * self.push


def measure(run: RunConfig) -> Costs:
    """Time the parts of a run with an untrained network.

    Raises:
        UsageError: it is not known how often it learns, or no batch of rows comes together.
    """
    planned = run.replay.planned_updates(10**6)
    if planned is None:
        raise UsageError("pipelines.estimate needs a replay with a ratio of learned to collected steps (replay.ratio)")
    tune(threads=1)
    small = replace(run, replay=run.replay.with_room_for(4 * run.replay.batch_rows))
    with TemporaryDirectory(prefix="recall_estimate_") as folder:
        replay = replay_of(small, Path(folder), "", None)
        actor = worker_actor(small, 0)
        act, store, sent = acting(small, actor, replay)
        draw, learn = learning(small, replay)
    weights, push = pushing(actor)
    return Costs(act, store, draw, learn, planned / 10**6, sent, weights, push, run.collector.pushes_per_frame)


def pushing(actor: Actor) -> tuple[int, float]:
    """Bytes of the weights, and seconds to write them where other processes read."""
    size, begin = 0, process_time()
    for _ in range(BATCHES):
        size = len(as_vector(floats_of(*actor.networks)).numpy().tobytes())
    return size, (process_time() - begin) / BATCHES


def acting(run: RunConfig, actor: Actor, replay: Replay) -> tuple[float, float, float]:
    """Seconds to act and to store, and bytes sent, per frame."""
    with closing(actor.env()) as like:
        keys = list(step_of(run, actor, like).keys(include_nested=True, leaves_only=True))
    act, store, sent, frames = 0.0, 0.0, 0, 0
    actor.anneal(run.total_frames)
    with closing(ActorInWorker(actor, run.collector, 0)) as worker:
        worker.start(Restart(run.seed, None, Newest(0, 0, 0, {}, 0)))
        for number in range(PATIENCE):
            begin = process_time()
            batch, packed = worker.collect()
            message = pickle.dumps((actor.state_dict(), worker.report(), packed))
            middle = process_time()
            replay.extend(batch, 0, unpacked(packed))
            if number >= 2:  # after what is only done once
                act, store = act + middle - begin, store + process_time() - middle
                sent, frames = sent + len(message) + batch.select(*keys).bytes(), frames + batch.numel()
            if number >= BATCHES and len(replay) >= run.replay.batch_rows:
                return act / frames, store / frames, sent / frames
    rows = f"{len(replay)} rows, fewer than replay.batch_rows={run.replay.batch_rows}"
    raise UsageError(f"replay.length={run.replay.length}: {PATIENCE} batches gave {rows}")


def learning(run: RunConfig, replay: Replay) -> tuple[float, float]:
    """Seconds to draw a batch of rows, and to learn from it on the run's device."""
    clock = process_time if run.torch_device.type == "cpu" else perf_counter
    network = run.network.build(run.spaces).to(run.torch_device)
    learner = Learner(network, run.loss.build(run.loss_context(network)), run.optim, run.target, metric=run.loss.metric)
    auxiliary = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
    draw, learn, updates = 0.0, 0.0, 0
    while updates < BATCHES and draw + learn < LONG_S:
        begin = clock()
        rows = replay.sample()
        assert rows is not None  # no shards here
        middle = clock()
        _, errors = learner.step(rows.to(run.torch_device))
        auxiliary.step(rows)
        if errors is not None:
            replay.update(rows, errors)
        if learner.updates > 1:  # after what is only done once
            draw, learn, updates = draw + middle - begin, learn + clock() - middle, updates + 1
    return draw / updates, learn / updates


def lines(run: RunConfig, costs: Costs) -> Iterator[str]:
    """Lay the costs out, and what follows for runs of some numbers of workers."""
    c, n = costs, run.collector.num_envs
    yield f"{run.name}, per core:"
    yield f"  {1 / c.act:12,.0f} frames/s   act, in {n} environments"
    yield f"  {1 / c.store:12,.0f} frames/s   store"
    yield f"  {1 / c.draw:12,.1f} batches/s  draw rows"
    yield f"  {1 / c.learn:12,.1f} updates/s  learn from them, once every {1 / c.updates:,.0f} frames"
    if c.pushes:
        yield f"  {1 / c.push:12,.1f} pushes/s   of weights, once every {1 / c.pushes:,.0f} frames"
    yield f"  {1 / c.learner:12,.0f} frames/s   all of it but acting: the learner"
    yield f"  {1 / (c.act + c.learner):12,.0f} frames/s   act and learn in turn: collector=sync"
    yield f"An actor sends {c.sent:,.0f} bytes per frame; a push of weights is {c.weights / MB:,.1f} MB."
    yield ""
    yield "workers   environments   frames/s   to the learner [MB/s]   to each machine [MB/s]   limit"
    for workers in WORKERS:
        rate = min(workers / c.act, 1 / c.learner)
        limit = "acting" if workers / c.act < 1 / c.learner else "the learner"
        yield (
            f"{workers:7}   {workers * n:12}   {rate:8,.0f}   {rate * c.sent / MB:21,.2f}   "
            f"{rate * c.pushes * c.weights / MB:22,.2f}   {limit}"
        )
    yield ""
    yield "Each worker has a core of its own, and the learner another; with more threads or a GPU it learns faster."
    yield "What Ray and the network take comes on top (docs/cluster.md); the rows of replay=ray are taken to lie here."


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
