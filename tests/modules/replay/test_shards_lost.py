"""A replay in shards goes on without one that is lost, and a resumed run finds those that are there."""

import logging
import pickle
from pathlib import Path

import pytest
import torch

from modules import keys
from modules.process import versions
from modules.replay.base import RowsLost
from modules.replay.ray_shards import RayShards, ShardLost
from modules.replay.rows import LOST, NONE
from modules.replay.shard import Shard
from modules.replay.storage import CompressedSpec, MemmapSpec
from modules.spec import UsageError
from tests.modules.replay.shards import (
    BATCH_ROWS,
    EXPONENT,
    LENGTH,
    Here,
    Streams,
    counts_of,
    draw,
    filled,
    make,
    names,
    said,
    z_of,
)


def test_a_lost_shard_has_no_mass_and_an_empty_one_takes_its_place(tmp_path, caplog):
    shards = Here()
    replay, _, streams = filled(tmp_path, shards=shards)
    rows = replay.sample()
    shards.lost.append(replay._shards[1].actor)
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
    before = replay._shards[1].actor._replay._storage.fields[keys.PREVIOUS_ROW_ID][:4].tolist()
    assert before == [LOST, 0, 1, 2]
    assert replay._shards[0].actor._replay._storage.fields[keys.PREVIOUS_ROW_ID][:3].tolist() == [NONE, 0, 1]


def test_what_follows_a_lost_row_has_no_whole_history(tmp_path):
    shards = Here()
    replay, _, streams = filled(tmp_path, shards=shards, counts=(9, 9, 9), most_losses=3)
    generator = torch.Generator().manual_seed(0)
    assert list(replay.sample_with_prefix(8, generator))
    shards.lost.extend(shard.actor for shard in replay._shards)
    replay.sample()
    assert len(replay) == 0
    assert list(replay.sample_with_prefix(8, generator)) == []
    for number in range(3):
        streams.extend(number, [0.5] * 4)
    assert len(replay) == 12
    assert list(replay.sample_with_prefix(8, generator)) == []


def test_a_history_that_breaks_off_is_told_from_a_whole_one(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards, counts=(9, 9, 9))
    shards.last = "history"
    with pytest.raises(RowsLost, match="its machine is gone"):
        list(replay.sample_with_prefix(8, torch.Generator().manual_seed(0)))


def test_too_many_losses_end_the_run(tmp_path):
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards, most_losses=0)
    shards.lost.append(replay._shards[2].actor)
    with pytest.raises(ShardLost, match=r"shard_2_2 of the replay was lost.*most_losses=0: its machine is gone"):
        replay.sample()


def test_with_no_rows_at_all_it_waits_for_more(tmp_path):
    shards = Here()
    replay, _, streams = filled(tmp_path, shards=shards, most_losses=9)
    shards.lost.extend(shard.actor for shard in replay._shards)
    assert draw(replay, 4) == [None] * 4
    assert replay.updates_due(100) == 0
    streams.extend(0, [0.5] * BATCH_ROWS)
    assert replay.updates_due(100) > 0
    assert len(replay.sample()) == BATCH_ROWS


def test_a_shard_says_when_a_save_must_not_wait(tmp_path):
    replay = make(tmp_path, capacity=30 * LENGTH)
    streams = Streams(replay)
    while not replay.must_save:
        streams.extend(0, [0.5])
    saved = replay.state_dict()
    assert not replay.must_save
    assert len(make(tmp_path, saved=saved, capacity=30 * LENGTH)) == 10


@pytest.mark.parametrize("storage", [MemmapSpec(), CompressedSpec(expected_ratio=4.0)])
def test_a_resumed_run_has_the_rows_and_masses_of_its_save(tmp_path, storage):
    replay, named, streams = filled(tmp_path, storage=storage)
    replay.update(rows := replay.sample(), torch.full((BATCH_ROWS, LENGTH), 5.0))
    saved = replay.state_dict()
    changed = {**named, **dict.fromkeys(names(rows), 5.0)}
    streams.extend(0, [9.0] * 10)  # after the save, and so forgotten
    shards = Here()
    again = make(tmp_path, shards, saved=saved, storage=storage)
    again.load_state_dict(saved)
    assert shards.machines == ["host0", "host1", "host2"]
    assert len(again) == len(named)
    mass = torch.tensor(list(changed.values()), dtype=torch.float64) ** EXPONENT
    counts = counts_of(again, changed)
    assert abs(z_of(counts, counts.sum() * mass / mass.sum())) < 4


def test_a_shard_that_is_not_there_any_more_begins_empty_and_somewhere_else(tmp_path, caplog):
    """When its old machine comes back, what lies there is not taken for the new rows."""
    replay, _, _ = filled(tmp_path)
    saved = replay.state_dict()
    (tmp_path / "shard_1_1").rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        again = make(tmp_path, saved=saved)
    assert len(again) == 200
    assert said(caplog) == ["shard_1_1 of the replay is not on host1; an empty one takes its place"]
    Streams(again).extend(1, [0.5] * 7)
    assert len(again) == 207
    saved = again.state_dict()
    (tmp_path / "elsewhere").rename(tmp_path / "shard_1_1")
    assert len(make(tmp_path, saved=saved)) == 207


def test_a_shard_whose_machine_goes_while_it_is_opened_begins_empty(tmp_path):
    replay, _, _ = filled(tmp_path)
    saved, shards = replay.state_dict(), Dying()
    assert len(make(tmp_path, shards, saved=saved)) == 450


class Dying(Here):
    """The first shard dies before it answers anything."""

    def start(self, task, number, machine):
        started = super().start(task, number, machine)
        self.lost[:] = self.shards[:1]
        return started


def test_an_empty_shard_is_no_lost_one(tmp_path, caplog):
    saved = make(tmp_path).state_dict()
    with caplog.at_level(logging.WARNING):
        make(tmp_path, saved=saved)
    assert said(caplog) == []


@pytest.mark.parametrize(("dies", "rows"), [("", 450), ("set_priorities", 500), ("state_dict", 500)])
def test_a_shard_that_dies_at_a_save(tmp_path, dies, rows):
    """At once, or after it gave one of its answers: then what it told counts if its disk is still there."""
    shards = Here()
    replay, _, _ = filled(tmp_path, shards=shards)
    if dies:
        shards.last = dies
    else:
        shards.lost.append(replay._shards[0].actor)
    saved = replay.state_dict()
    assert len(make(tmp_path, saved=saved)) == rows


def test_shards_know_their_folder_wherever_they_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replay = make(Path("run"))
    monkeypatch.chdir("/")
    Streams(replay).extend(0, [0.5] * 3)
    assert len(make(tmp_path / "run", saved=replay.state_dict())) == 3


def test_a_machine_with_other_versions_opens_no_shard():
    shard = Shard(pickle.dumps(({**versions(), "numpy": "0.1"}, b"no pickle")))
    with pytest.raises(UsageError, match=r"has numpy \S+ instead of 0\.1"):
        shard.status()


def test_a_shard_that_does_not_answer_is_said_and_waited_for(monkeypatch, caplog):
    ray = pytest.importorskip("ray", reason="Ray is an extra")
    answers = iter([ray.exceptions.GetTimeoutError(), ray.exceptions.GetTimeoutError(), 3])

    def get(question, timeout):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return question, timeout, answer

    monkeypatch.setattr(ray, "get", get)
    with caplog.at_level(logging.WARNING):
        assert RayShards().answer("question") == ("question", 60, 3)
    assert said(caplog) == ["a shard of the replay has not answered for 60 s; it is waited for"] * 2
