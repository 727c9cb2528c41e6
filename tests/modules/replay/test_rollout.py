"""Every row of a rollout is learned from as often as there are epochs, in an order drawn anew, and then forgotten."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from modules import checkpoint, keys
from modules.keys import Spaces
from modules.replay.base import ReplayContext
from modules.replay.rollout import RolloutReplay, RolloutSpec
from modules.spec import UsageError
from tests.modules.builders import STREAM_STATES, stream

SPACES = Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=2)


def make(*, length=3, rollout_rows=4, batch_rows=2, epochs=2, reads=(), seed=0):
    settings = RolloutSpec(length=length, rollout_rows=rollout_rows, batch_rows=batch_rows, epochs=epochs)
    context = ReplayContext(
        directory=Path("nowhere"),
        spaces=SPACES,
        schema=settings.schema(STREAM_STATES, reads),
        save_every=100,
        batch_frames=10,
        seed=seed,
    )
    return RolloutReplay(settings, context)


def steps_of(rows):
    """Serial numbers of the real steps of each row."""
    seen, mask = rows[keys.OBSERVATION][:, :-1, 0], rows[keys.MASK]
    return [tuple(seen[row][mask[row]].int().tolist()) for row in range(len(rows))]


def drawn(replay):
    batches = []
    while (rows := replay.sample()) is not None:
        batches.append(steps_of(rows))
    return batches


def test_a_rollout_by_hand():
    """Episodes of 5, 2 and 4 steps make rows of 3 + 2, 2 and 3 + 1."""
    replay = make()
    data = stream([[5, 2, 4, 9]])
    replay.extend(data[:, :7])
    assert [len(replay), replay.updates_due(7)] == [3, 0]
    replay.extend(data[:, 7:11])
    assert [len(replay), replay.updates_due(4)] == [5, 4]  # 2 epochs of 2 updates; a row is left over in each
    batches = drawn(replay)
    rows = {(0, 1, 2), (3, 4), (100, 101), (200, 201, 202), (203,)}
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]
    for epoch in (batches[:2], batches[2:]):
        seen = [row for batch in epoch for row in batch]
        assert len(set(seen)) == 4
        assert set(seen) < rows
    assert [len(replay), replay.updates_due(0), replay.sample()] == [0, 0, None]


def test_rows_are_learned_from_as_often_as_there_are_epochs_and_in_another_order():
    replay = make(epochs=3)
    data = stream([[3, 3, 3, 3, 9]])
    replay.extend(data[:, :12])
    batches = drawn(replay)
    assert set(Counter(row for batch in batches for row in batch).values()) == {3}
    orders = {tuple(row for batch in batches[i : i + 2] for row in batch) for i in (0, 2, 4)}
    assert len(orders) > 1


def test_a_save_keeps_rows_that_wait_tails_and_the_order_to_come(tmp_path):
    data = stream([[3, 2, 9], [4, 9, 2]])
    replay = make(rollout_rows=9)
    replay.extend(data[:, :5])
    replay.truncate()
    assert len(replay) == 5  # two episodes, a row, its episode's end and the two tails of one step
    checkpoint.save(tmp_path, 0, {"replay": replay.state_dict()}, keep=1)
    other = make(rollout_rows=9, seed=1)
    other.load_state_dict(checkpoint.load(checkpoint.latest(tmp_path))["replay"])
    for one in (replay, other):
        one.extend(data[:, :9])  # the environments start afresh
        assert len(one) >= 9
    assert drawn(replay) == drawn(other)


def test_streams_have_environments_of_their_own():
    replay, data = make(rollout_rows=2, batch_rows=2, epochs=1), stream([[3, 5]])
    replay.extend(data[:, :2], stream=0)
    replay.extend(data[:, :3], stream=1)
    assert len(replay) == 1
    replay.extend(data[:, 2:3], stream=0)
    assert drawn(replay) == [[(0, 1, 2)] * 2]


@pytest.mark.parametrize(("length", "limit", "found"), [(32, 500, 32), (32, 10, 10), (0, 10, 10), (32, None, 32)])
def test_rows_are_no_longer_than_episodes(length, limit, found):
    settings = RolloutSpec(length=length, rollout_rows=1, batch_rows=1, epochs=1)
    assert settings.fit_to_env(limit).length == found


def test_whole_episodes_need_a_time_limit():
    with pytest.raises(UsageError, match=r"replay\.length=0"):
        RolloutSpec(length=0, rollout_rows=1, batch_rows=1, epochs=1).fit_to_env(None)


def test_further_inputs_are_unfolded_from_the_step_before():
    data = stream([[3, 4]])
    data[keys.PREVIOUS_ACTION] = torch.full(data.shape, -1)
    replay = make(rollout_rows=1, batch_rows=1, epochs=1, reads=(keys.PREVIOUS_ACTION,))
    replay.extend(data[:, :3])
    rows = replay.sample()
    assert rows[keys.PREVIOUS_ACTION][0].tolist() == [-1, *rows[keys.ACTION][0].tolist()]
