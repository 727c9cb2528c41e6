"""The replay as R2D2 uses it: states, streams, histories, priorities."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from modules import keys
from modules.replay.base import ReplayContext
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import PrioritisedSpec
from modules.replay.storage import MemmapSpec
from modules.spec import UsageError
from tests.modules.builders import STATE, STREAM_SPACES, STREAM_STATES, stream
from tests.modules.replay.test_sequence import fill, make, settings


def test_rows_can_start_from_zeros(tmp_path):
    stored, zero = make(tmp_path / "stored"), make(tmp_path / "zero", state="zero")
    for replay in (stored, zero):
        fill(replay, range(7))
    a, b = stored.sample(), zero.sample()
    assert torch.equal(a[keys.OBSERVATION], b[keys.OBSERVATION])
    assert a[STATE].all()
    assert b[STATE].shape == a[STATE].shape
    assert not b[STATE].any()
    assert not (tmp_path / "zero" / f"{STATE}.memmap").exists()


def test_streams_are_cut_apart(tmp_path):
    """Two workers' batches alternate; each row has the steps of one of them, in order."""
    replay = make(tmp_path, length=4)
    data = [stream([[9, 9]]), stream([[9, 9]])]
    data[1][keys.OBSERVATION] += 5000
    for start in range(0, 8, 2):
        for number in (0, 1):
            replay.extend(data[number][:, start : start + 2], number)
    rows = replay._read(torch.arange(replay._written))
    starts = rows[keys.OBSERVATION][:, 0, 0].int().tolist()
    assert sorted(starts) == [0, 4, 5000, 5004]
    chains = {starts[n]: [starts[m] for m in replay._chain(n)] for n in range(4)}
    assert chains == {0: [0], 4: [4, 0], 5000: [5000], 5004: [5004, 5000]}


def test_histories_hold_whole_episodes(tmp_path):
    replay = make(tmp_path, length=3, overlap=1, burn_in=2, capacity=60)
    replay.extend(stream([[9, 9, 1], [2, 9, 9]])[:, :18])
    replay.truncate()
    history = [*replay.sample_with_prefix(200, torch.Generator().manual_seed(0))]
    last = history[-1]
    assert len(history) == 4  # rows of an episode of 9 steps start at 0, 2, 4 and 6
    assert [len(rows) for rows in history] == sorted(len(rows) for rows in history)
    for r in range(len(last)):
        begun = [rows[r] for rows in history if len(rows) > r]
        learned = [int(x) for row in begun for x in row[keys.OBSERVATION][2:4, 0][row[keys.MASK][2:4]]]
        first = learned[0]
        assert first % 100 == 0  # from the episode's start
        assert learned == list(range(first, first + len(learned)))
        assert len(learned) > 2
    assert len({int(x) for x in last[keys.OBSERVATION][:, 2, 0]}) >= 6


def test_a_history_that_was_overwritten_is_not_told(tmp_path):
    replay = make(tmp_path, capacity=32)
    replay.extend(stream([[11, 9]])[:, :11])
    replay.truncate()
    assert replay._written == 3
    assert len(replay._chain(2)) == 3
    replay._saved = replay.settings.capacity_rows  # a killed run may have written over all rows before the last save's
    assert len(replay._chain(2)) == 3
    replay._saved += 1
    assert replay._chain(2) == []


def test_histories_are_those_of_rows_that_can_be_sampled(tmp_path):
    """Older ones are still on disk, but no longer learned from."""
    replay = make(tmp_path, capacity=20)  # five rows
    fill(replay, range(9), episode=6)
    newest = replay._written - len(replay)
    assert 0 < newest < replay._ring  # so nothing was overwritten
    seen = set()
    for seed in range(20):
        *_, last = replay.sample_with_prefix(8, torch.Generator().manual_seed(seed))
        seen |= set(last[keys.PREVIOUS_ROW_ID].tolist())
    assert {before + 1 for before in seen} == {n for n in range(newest, replay._written) if n % 2}


def prioritised():
    base = {"length": 4, "capacity": 40, "burn_in": 0, "overlap": 0, "state": "stored", "batch_rows": 8, "ratio": 1.0}
    return PrioritisedSpec(
        **base,
        mirror=False,
        cross_mixture=0,
        storage=MemmapSpec(),
        exponent=1.0,
        eta=0.9,
        importance=0.5,
        importance_end=1.0,
        importance_frames=10,
    )


def test_priorities_go_back_to_the_rows_that_were_drawn(tmp_path):
    spec = prioritised()
    layout = spec.schema(STREAM_STATES, ())
    replay = SequenceReplay(
        spec,
        ReplayContext(directory=tmp_path, spaces=STREAM_SPACES, schema=layout, save_every=40, batch_frames=6, seed=0),
    )
    fill(replay, range(5))
    favourite = 3
    for _ in range(40):
        rows = replay.sample()
        assert (rows[keys.WEIGHT] <= 1).all()
        errors = torch.where(rows[keys.ROW] == favourite, 1.0, 0.0).unsqueeze(1).expand(-1, 4)
        replay.update(rows, errors)
    assert (replay.sample()[keys.ROW] == favourite).all()
    assert [round(spec.importance_at(frames), 2) for frames in (0, 5, 10, 20)] == [0.5, 0.75, 1.0, 1.0]


def test_the_priority_of_a_row_is_that_of_its_learned_steps(tmp_path):
    """Behind 2 steps of burn-in, which is padding in an episode's first row, and before padding in its last."""
    spec = replace(prioritised(), burn_in=2, eta=0.0)
    layout = spec.schema(STREAM_STATES, ())
    replay = SequenceReplay(
        spec,
        ReplayContext(directory=tmp_path, spaces=STREAM_SPACES, schema=layout, save_every=40, batch_frames=6, seed=0),
    )
    replay.extend(stream([[5, 1]])[:, :5])
    assert len(replay) == 2
    rows = replay.sample()
    while len(set(rows[keys.ROW].tolist())) < 2:
        rows = replay.sample()
    replay.update(rows, torch.tensor([[1.0, 2.0, 3.0, 6.0]]).expand(8, -1))
    assert replay.state_dict()["sampler"]["masses"].tolist() == [3, 1]


def test_needs_name_what_does_not_hold():
    run = SimpleNamespace(warmup_frames=10, loss=SimpleNamespace(tells_errors=False, on_policy=False))
    assert "replay.burn_in=3 must not exceed the 2 steps" in next(iter(settings(burn_in=3, overlap=2).needs(run)))
    with pytest.raises(UsageError, match=r"replay.burn_in=3 must be 0 where rows are whole episodes"):
        settings(length=0, burn_in=3).fit_to_env(9)
    assert "replay=prioritised needs a loss" in next(iter(prioritised().needs(run)))
