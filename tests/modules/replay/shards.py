"""A replay in shards that all are in this process."""

import torch

from modules import keys
from modules.replay.base import ReplayContext
from modules.replay.cut_rows import CutRows
from modules.replay.ray_shards import ShardLost
from modules.replay.rows import SequenceBuilder
from modules.replay.shard import Shard
from modules.replay.sharded import ShardedReplay
from modules.replay.specs import ShardedSpec
from modules.replay.storage import MemmapSpec
from tests.modules.builders import STREAM_SPACES, STREAM_STATES, stream

LENGTH, BATCH_ROWS, EXPONENT, IMPORTANCE = 2, 64, 0.9, 0.6
BATCH_FRAMES = 100


class Here:
    """Shards in this process; one that is in `lost` never answers again, nor one whose next answer is in `last`."""

    def __init__(self):
        self.shards, self.lost, self.asked, self.late, self.machines = [], [], [], False, []
        self.last = None  # method; the shard that answers it first dies then

    def start(self, task, number, machine):
        self.shards.append(Shard(task))
        self.machines.append(machine)
        return self.shards[-1], machine or f"host{number}"

    def ask(self, shard, method, *args):
        self.asked.append(method)
        found = None if shard in self.lost else getattr(shard, method)(*args)
        return shard, method, found

    def answered(self, question):
        return not self.late

    def answer(self, question):
        shard, method, found = question
        if shard in self.lost:
            raise ShardLost("its machine is gone")
        if method == self.last:
            self.lost.append(shard)
            self.last = None
        return found

    def history(self, shard, count, seed):
        for part in shard.history(count, seed):
            yield self.answer((shard, "history", part))


def settings(**changes):
    base = {
        **{"capacity": 3000 * LENGTH, "length": LENGTH, "burn_in": 0, "overlap": 0, "state": "stored"},
        **{"batch_rows": BATCH_ROWS, "ratio": 2.0, "mirror": False, "cross_mixture": 0.0, "storage": MemmapSpec()},
        **{"exponent": EXPONENT, "eta": 0.9, "importance": IMPORTANCE, "importance_end": IMPORTANCE},
        **{"importance_frames": 100, "shards": 3, "most_losses": 2},
    }
    return ShardedSpec(**{**base, **changes})


def make(directory, shards=None, *, saved=None, seed=0, save_every=1000, **changes):
    spec = settings(**changes)
    context = ReplayContext(
        directory=directory,
        spaces=STREAM_SPACES,
        schema=spec.schema(STREAM_STATES, ()),
        save_every=save_every,
        batch_frames=BATCH_FRAMES,
        seed=seed,
        saved=saved,
    )
    return ShardedReplay(spec, context, shards or Here())


class Streams:
    """Rows of streams without end, one environment and one long episode each; row i of stream s is s · 10⁶ + i."""

    def __init__(self, replay):
        self.replay, self.cutters, self.ends = replay, {}, {}

    def extend(self, number, priorities):
        """Store as many rows of a stream as there are priorities."""
        cutter = self.cutters.setdefault(number, SequenceBuilder(self.replay.settings.schema(STREAM_STATES, ())))
        begin = self.ends.get(number, 0)
        end = self.ends[number] = begin + LENGTH * len(priorities)
        steps = stream([[10**6]])[:, :0] if end == begin else stream([[end + 1]])[:, begin:end]
        steps[keys.OBSERVATION] = steps[keys.OBSERVATION] // LENGTH + 10**6 * number
        rows = cutter.push(steps).set(keys.PRIORITY, torch.as_tensor(priorities))
        assert len(rows) == len(priorities)
        self.replay.extend(None, number, CutRows(rows))


def filled(directory, counts=(50, 300, 150), **changes):
    """A replay of three unequal shards, and the priority of each row by its name."""
    replay, generator, named = make(directory, **changes), torch.Generator().manual_seed(1), {}
    streams = Streams(replay)
    for number, count in enumerate(counts):
        priorities = torch.rand(count, generator=generator) ** 3 + 0.01
        streams.extend(number, priorities)
        named |= {float(10**6 * number + i): p for i, p in enumerate(priorities.tolist())}
    return replay, named, streams


def names(rows):
    return rows[keys.OBSERVATION][:, 0, 0].tolist()


def z_of(counts, expected):
    """χ² of drawn counts, in standard deviations from its mean."""
    degrees = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / (2 * degrees) ** 0.5)


def counts_of(replay, named, batches=2000):
    index = {name: i for i, name in enumerate(named)}
    drawn = [index[name] for _ in range(batches) for name in names(replay.sample())]
    return torch.bincount(torch.tensor(drawn), minlength=len(named)).double()


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "recall"]


def draw(replay, batches):
    return [replay.sample() for _ in range(batches)]
