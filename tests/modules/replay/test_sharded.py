"""A replay in shards draws as one does, weighs as one does, and goes on without a shard that is lost."""

import logging

import pytest
import torch

from modules import keys
from modules.replay.base import ReplayContext
from modules.replay.cut_rows import CutRows
from modules.replay.ray_shards import ShardLost
from modules.replay.rows import LOST, NONE, SequenceBuilder
from modules.replay.shard import Shard
from modules.replay.sharded import IN_FLIGHT, SHARDS, ShardedReplay
from modules.replay.specs import ShardedSpec
from modules.replay.storage import CompressedSpec, MemmapSpec
from tests.modules.builders import STREAM_SPACES, STREAM_STATES, stream

LENGTH, BATCH_ROWS, EXPONENT, IMPORTANCE = 2, 64, 0.9, 0.6


class Here:
    """Shards in this process; one whose handle is in `lost` never answers again."""

    def __init__(self):
        self.shards, self.lost, self.asked = [], [], []

    def hire(self, task):
        self.shards.append(Shard(task))
        return self.shards[-1]

    def ask(self, shard, method, *args):
        self.asked.append(method)
        return shard, None if shard in self.lost else getattr(shard, method)(*args)

    def answered(self, question):
        return True

    def answer(self, question):
        shard, found = question
        if shard in self.lost:
            raise ShardLost("its machine is gone")
        return found

    def history(self, shard, count, seed):
        if shard in self.lost:
            raise ShardLost("its machine is gone")
        return shard.history(count, seed)


def settings(**changes):
    base = {
        **{"capacity": 3000 * LENGTH, "length": LENGTH, "burn_in": 0, "overlap": 0, "state": "stored"},
        **{"batch_rows": BATCH_ROWS, "ratio": 2.0, "mirror": False, "cross_mixture": 0.0, "storage": MemmapSpec()},
        **{"exponent": EXPONENT, "eta": 0.9, "importance": IMPORTANCE, "importance_end": IMPORTANCE},
        **{"importance_frames": 100, "shards": 3, "most_losses": 2},
    }
    return ShardedSpec(**{**base, **changes})


def make(directory, shards=None, *, saved=None, seed=0, **changes):
    spec = settings(**changes)
    context = ReplayContext(
        directory=directory,
        spaces=STREAM_SPACES,
        schema=spec.schema(STREAM_STATES, ()),
        save_every=1000,
        batch_frames=100,
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


def test_draws_are_in_proportion_to_masses_over_all_shards(tmp_path):
    replay, named, _ = filled(tmp_path)
    counts = counts_of(replay, named)
    mass = torch.tensor(list(named.values()), dtype=torch.float64) ** EXPONENT
    assert abs(z_of(counts, counts.sum() * mass / mass.sum())) < 4
    of_shards = [part / part.sum() / 3 for part in mass.split([50, 300, 150])]
    assert z_of(counts, counts.sum() * torch.cat(of_shards)) > 100  # as if a shard were chosen uniformly


def test_weights_are_those_of_one_replay(tmp_path):
    """(N · P(i))^−β, of which the largest in a batch is 1."""
    replay, named, _ = filled(tmp_path)
    rows = replay.sample()
    mass = torch.tensor([named[name] for name in names(rows)], dtype=torch.float64) ** EXPONENT
    expected = mass**-IMPORTANCE
    assert (rows[keys.WEIGHT] - expected / expected.max()).abs().max() < 1e-6


def test_weights_undo_masses_that_were_told_too_early(tmp_path):
    """A shard is drawn with the share that it had, and its rows weigh by that, not by the share that it has."""
    replay, named, _ = filled(tmp_path)
    place = replay._places[0]
    place.told = place.told._replace(mass=10 * place.told.mass)
    told = torch.tensor([p.told.mass for p in replay._places], dtype=torch.float64)
    rows = replay._join(replay._take(replay._order(BATCH_ROWS)))
    mass = torch.tensor([named[name] for name in names(rows)], dtype=torch.float64) ** EXPONENT
    of = torch.tensor([int(name // 10**6) for name in names(rows)])
    true = torch.tensor([p.told.mass for p in replay._places], dtype=torch.float64)
    weights = (told[of] / told.sum() * mass / true[of]) ** -IMPORTANCE
    assert (rows[keys.WEIGHT] - weights / weights.max()).abs().max() < 1e-6


def test_shards_are_drawn_independently(tmp_path):
    """How many rows of a batch come from a shard has the variance of a binomial."""
    replay, _, _ = filled(tmp_path)
    share = replay._places[1].told.mass / sum(place.told.mass for place in replay._places)
    serials = [replay.sample()[keys.ROW] % SHARDS for _ in range(2000)]
    counts = torch.tensor([float((s == replay._places[1].serial).sum()) for s in serials])
    ratio = counts.var().item() / (BATCH_ROWS * share * (1 - share))
    assert abs(ratio - 1) < 4 * (2 / 2000) ** 0.5


def test_new_priorities_reach_the_shards(tmp_path):
    """Of all rows but one the |δ| vanishes; what was in flight is still drawn by the old ones."""
    replay, named, _ = filled(tmp_path, counts=(20, 20, 20))
    chosen = 10.0**6 + 3
    for _ in range(60):
        rows = replay.sample()
        errors = torch.tensor([[100.0 if name == chosen else 0.0] * LENGTH for name in names(rows)])
        replay.update(rows, errors)
    drawn = [name for _ in range(IN_FLIGHT + 20) for name in names(replay.sample())][-20 * BATCH_ROWS :]
    assert drawn.count(chosen) / len(drawn) > 0.95
    assert len(named) == len(replay)


def test_two_batches_are_asked_for_ahead(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards)
    replay.sample()
    first = shards.asked.count("exchange")
    replay.sample()
    assert len(replay._flying) == IN_FLIGHT
    assert 0 < shards.asked.count("exchange") - first <= 3


def test_a_lost_shard_has_no_mass_and_an_empty_one_takes_its_place(tmp_path, caplog):
    shards = Here()
    replay, _, streams = filled(tmp_path, shards=shards)
    rows = replay.sample()
    shards.lost.append(replay._places[1].handle)
    with caplog.at_level(logging.WARNING):
        replay.update(rows, torch.ones(BATCH_ROWS, LENGTH))
        drawn = draw(replay, 10)
    assert [len(rows) for rows in drawn] == [BATCH_ROWS] * 10
    assert all(name // 10**6 != 1 for rows in drawn for name in names(rows))
    assert said(caplog) == [
        "shard_1_1 of the replay was lost with its 300 rows: its machine is gone; shard_1_3 takes its place"
    ]
    assert len(replay) == 200
    replay.update(rows, torch.ones(BATCH_ROWS, LENGTH))  # of rows that are gone with it
    streams.extend(1, [0.5] * 4)
    for _ in range(10):
        rows = replay.sample()
    assert len(replay) == 204
    before = replay._places[1].handle.replay._storage.fields[keys.PREVIOUS_ROW_ID][:4].tolist()
    assert before == [LOST, 0, 1, 2]
    assert replay._places[0].handle.replay._storage.fields[keys.PREVIOUS_ROW_ID][:3].tolist() == [NONE, 0, 1]


def test_what_follows_a_lost_row_has_no_whole_history(tmp_path):
    shards = Here()
    replay, _, streams = filled(tmp_path, shards=shards, counts=(9, 9, 9))
    generator = torch.Generator().manual_seed(0)
    assert list(replay.sample_with_prefix(8, generator))
    for place in list(replay._places):
        shards.lost.append(place.handle)
    replay.settings = settings(most_losses=3)
    replay._hear(wait=True)
    assert list(replay.sample_with_prefix(8, generator)) == []  # the first question that it does not answer
    for number in range(3):
        streams.extend(number, [0.5] * 4)
    replay._hear(wait=True)
    assert list(replay.sample_with_prefix(8, generator)) == []


def test_too_many_losses_end_the_run(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards, most_losses=0)
    shards.lost.append(replay._places[2].handle)
    with pytest.raises(ShardLost, match=r"shard_2_2 of the replay was lost.*most_losses=0: its machine is gone"):
        replay.sample()


def test_no_rows_at_all_end_the_run(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards, most_losses=9)
    shards.lost.extend(place.handle for place in replay._places)
    with pytest.raises(ShardLost, match="no shard of the replay has rows any more"):
        draw(replay, 4)


@pytest.mark.parametrize("storage", [MemmapSpec(), CompressedSpec(expected_ratio=4.0)])
def test_a_resumed_run_has_the_rows_and_masses_of_its_save(tmp_path, storage):
    replay, named, streams = filled(tmp_path, storage=storage)
    replay.update(rows := replay.sample(), torch.full((BATCH_ROWS, LENGTH), 5.0))
    saved = replay.state_dict()
    assert not replay.must_save
    changed = {**named, **dict.fromkeys(names(rows), 5.0)}
    streams.extend(0, [9.0] * 10)  # after the save, and so forgotten
    again = make(tmp_path, saved=saved, storage=storage)
    again.load_state_dict(saved)
    assert len(again) == len(named)
    mass = torch.tensor(list(changed.values()), dtype=torch.float64) ** EXPONENT
    counts = counts_of(again, changed)
    assert abs(z_of(counts, counts.sum() * mass / mass.sum())) < 4


def test_a_shard_that_is_not_there_any_more_begins_empty(tmp_path, caplog):
    replay, _, _ = filled(tmp_path)
    saved = replay.state_dict()
    (tmp_path / "shard_1_1").rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        again = make(tmp_path, saved=saved)
    assert len(again) == 200
    assert said(caplog) == ["shard_1_1 of the replay is not where it was, and begins empty"]


def test_a_shard_lost_at_a_save_is_none_of_it(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards)
    shards.lost.append(replay._places[1].handle)
    saved = replay.state_dict()
    again = make(tmp_path, saved=saved)
    assert len(again) == 200
    assert {place.folder for place in again._places} == {"shard_0_0", "shard_1_5", "shard_2_2"}
