"""A replay in shards draws as one does, and weighs as one does."""

import pytest
import torch

from modules import keys
from modules.replay.sharded import IN_FLIGHT, ROW_ID_STRIDE, UNANSWERED
from tests.modules.replay.shards import (
    BATCH_FRAMES,
    BATCH_ROWS,
    EXPONENT,
    IMPORTANCE,
    LENGTH,
    Here,
    Streams,
    counts_of,
    filled,
    make,
    names,
    z_of,
)


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
    shard = replay._shards[0]
    shard.status = shard.status._replace(mass=10 * shard.status.mass)
    told = torch.tensor([p.status.mass for p in replay._shards], dtype=torch.float64)
    rows = replay._join(replay._take(replay._order(BATCH_ROWS)))
    mass = torch.tensor([named[name] for name in names(rows)], dtype=torch.float64) ** EXPONENT
    of = torch.tensor([int(name // 10**6) for name in names(rows)])
    true = torch.tensor([p.status.mass for p in replay._shards], dtype=torch.float64)
    weights = (told[of] / told.sum() * mass / true[of]) ** -IMPORTANCE
    assert (rows[keys.WEIGHT] - weights / weights.max()).abs().max() < 1e-6


def test_shards_are_drawn_independently(tmp_path):
    """How many rows of a batch come from a shard has the variance of a binomial."""
    replay, _, _ = filled(tmp_path)
    share = replay._shards[1].status.mass / sum(shard.status.mass for shard in replay._shards)
    serials = [replay.sample()[keys.ROW] % ROW_ID_STRIDE for _ in range(2000)]
    counts = torch.tensor([float((s == replay._shards[1].serial).sum()) for s in serials])
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
    assert len(replay._prefetched) == IN_FLIGHT
    assert 0 < shards.asked.count("exchange") - first <= 3


def test_a_new_stream_has_the_shard_that_was_given_fewest_rows(tmp_path):
    """As when a worker is replaced; two more streams than shards."""
    replay, _, streams = filled(tmp_path, counts=(50, 30, 40))
    for number in (3, 4):
        streams.extend(number, [0.5] * 25)
    assert [shard.status.rows for shard in replay._shards] == [50, 55, 65]
    streams.extend(1, [0.5])
    assert [shard.status.rows for shard in replay._shards] == [50, 56, 65]


@pytest.mark.parametrize("save_every", [1, 200])
@pytest.mark.parametrize("streams", [1, 64])
def test_no_shard_overwrites_what_a_checkpoint_refers_to(tmp_path, save_every, streams):
    """Even if shards answer late; the newest checkpoint is complete only after the next save begins."""
    shards, generator = Here(), torch.Generator().manual_seed(1)
    replay = make(tmp_path, shards, save_every=save_every, capacity=90 * LENGTH)
    given, at_risk, shards.late = Streams(replay), 0, True
    written = [[0] * 3] * 2
    while len(written) < 8:
        stream, count = (int(torch.randint(0, n, (), generator=generator)) for n in (streams, BATCH_FRAMES))
        given.extend(stream, [0.5] * count)
        if replay.must_save:
            rows = [shard["replay"]["written"] for shard in replay.state_dict()["shards"]]
            at_risk = max(at_risk, *(now - before for now, before in zip(rows, written[-2], strict=True)))
            written.append(rows)
            assert not replay.must_save
    of_a_shard = replay.settings.of_a_shard
    assert 0 < at_risk <= of_a_shard.ring_rows(save_every, BATCH_FRAMES) - of_a_shard.capacity_rows


def test_a_shard_that_is_far_behind_is_waited_for(tmp_path):
    shards = Here()
    replay = make(tmp_path, shards)
    shards.late, streams = True, Streams(replay)
    for _ in range(UNANSWERED):
        streams.extend(0, [0.5])
    assert len(replay) == 0
    streams.extend(0, [0.5])
    assert len(replay) == 1  # as it was when it answered the first
