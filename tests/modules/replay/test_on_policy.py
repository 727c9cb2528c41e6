"""Episodes are learned from whole, once, in order; those that a save cuts off never; a checkpoint holds the rest."""

import pytest
import torch

from modules import checkpoint, keys
from modules.replay.on_policy import EpisodeTooLongError, OnPolicyReplay, OnPolicySpec
from modules.replay.rows import SequenceSchema
from modules.spec import UsageError
from tests.modules.builders import STATE, STREAM_STATES, stream

LONGEST = 6


def make(*, batch_rows=2, length=LONGEST, reads=()):
    settings = OnPolicySpec(length=length, batch_rows=batch_rows)
    return OnPolicyReplay(settings, settings.schema(STREAM_STATES, reads))


def push(replay, data, width):
    """Push in batches of `width` columns; after each, learn if it is due. Returns what was learned from."""
    learned = []
    for start in range(0, data.shape[1], width):
        replay.extend(data[:, start : start + width])
        if replay.updates_due(width * data.shape[0]) >= 1:
            learned.append(replay.sample())
    return learned


def steps_of(rows):
    """Serial numbers of the real steps of each row."""
    seen, mask = rows[keys.OBSERVATION][:, :-1, 0], rows[keys.MASK]
    return [seen[row][mask[row]].int().tolist() for row in range(len(rows))]


def test_episodes_by_hand():
    """Of one environment: two make a batch, whole and masked, whatever the batches of steps are."""
    data = stream([[3, 2, 4, 1, 2, 6]])  # the last two have not ended
    for width in (1, 2, 5, 12):
        learned = push(make(), data[:, :12], width)
        if width < 12:
            first, second = learned
            assert [steps_of(first), steps_of(second)] == [[[0, 1, 2], [100, 101]], [[200, 201, 202, 203], [300]]]
        else:
            (first,) = learned  # all that ended in a batch come along
            assert [len(steps) for steps in steps_of(first)] == [3, 2, 4, 1, 2]
    first = push(make(), data[:, :5], 5)[0]
    assert first[keys.OBSERVATION].squeeze(-1).tolist() == [[0, 1, 2, 3], [100, 101, 102, 102]]  # 3 steps
    assert first[keys.MASK].int().tolist() == [[1, 1, 1], [1, 1, 0]]
    assert first[keys.REWARD][first[keys.MASK]].tolist() == [0, -1, -2, -100, -101]
    assert first[keys.ACTION].dtype == torch.int64
    assert first[STATE].flatten().tolist() == [0.5, 100.5]


def test_each_episode_is_learned_from_exactly_once():
    data = stream([[3, 1, 6, 2, 2, 9], [5, 5, 2, 1, 1, 9]])
    replay = make()
    learned = push(replay, data[:, :14], 3)
    steps = [step for rows in learned for row in steps_of(rows) for step in row]
    done = data["next", keys.DONE][:, :14].squeeze(-1)
    ended = [int(x) for env in range(2) for x in data[keys.OBSERVATION][env, : int(done[env].nonzero().max()) + 1, 0]]
    waiting = [step for row in (steps_of(replay.sample()) if len(replay) else []) for step in row]
    assert sorted(steps + waiting) == sorted(ended)
    assert len(steps) > 20


def test_nothing_is_owed_until_there_are_enough_and_then_one_update():
    replay = make(batch_rows=3)
    data = stream([[2, 2, 2, 2, 2]])
    updates_due = []
    for start in range(0, 8, 2):
        replay.extend(data[:, start : start + 2])
        updates_due.append(replay.updates_due(1000))
    assert updates_due == [0, 0, 1, 1]
    assert len(replay) == 4
    assert len(replay.sample()) == 4
    assert [len(replay), replay.updates_due(1000)] == [0, 0]


def test_what_a_save_cuts_off_is_dropped_and_what_waits_is_not():
    replay, data = make(batch_rows=9), stream([[3, 6]])
    replay.extend(data[:, :5])
    replay.truncate()
    assert len(replay) == 1
    replay.extend(stream([[2, 2]])[:, :3])  # the environments start afresh
    assert steps_of(replay.sample()) == [[0, 1, 2], [0, 1]]
    assert not replay.must_save


def test_a_checkpoint_holds_what_waits(tmp_path):
    data = stream([[3, 2, 4, 2, 2], [2, 2, 2, 2, 5]])
    replay = make(batch_rows=4)
    replay.extend(data[:, :4])
    replay.truncate()
    checkpoint.save(tmp_path, 0, {"replay": replay.state_dict()}, keep=1)
    other = make(batch_rows=4)
    other.load_state_dict(checkpoint.load(checkpoint.latest(tmp_path))["replay"])
    assert len(other) == len(replay) == 3
    for one in (replay, other):
        one.extend(data[:, :6])
    ours, theirs = replay.sample(), other.sample()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys())  # noqa: SIM118 - a TensorDict
    other.load_state_dict(make().state_dict())
    assert len(other) == 0


def test_further_inputs_are_unfolded_from_the_step_before():
    data = stream([[3, 2, 1]])
    data[keys.PREVIOUS_ACTION] = torch.full(data.shape, -1)
    replay = make(batch_rows=1, reads=(keys.PREVIOUS_ACTION,))
    replay.extend(data[:, :5])
    rows = replay.sample()
    assert rows[keys.PREVIOUS_ACTION][0].tolist() == [-1, *rows[keys.ACTION][0].tolist()]
    assert rows[keys.PREVIOUS_ACTION].shape == (2, 4)


def test_streams_have_environments_of_their_own():
    replay, data = make(), stream([[3, 5]])
    replay.extend(data[:, :2], stream=0)
    replay.extend(data[:, :4], stream=1)
    assert len(replay) == 1
    replay.extend(data[:, 2:4], stream=0)
    assert steps_of(replay.sample()) == [[0, 1, 2], [0, 1, 2]]


def test_an_episode_longer_than_promised_is_an_error():
    replay = make(length=3)
    with pytest.raises(EpisodeTooLongError, match=r"replay.length=3: an episode is longer"):
        push(replay, stream([[5, 1]])[:, :6], 1)


def test_length_is_the_time_limit_or_said():
    open_end = OnPolicySpec(length=0, batch_rows=2)
    assert open_end.fit_to_env(200).length == 200
    with pytest.raises(UsageError, match=r"replay.length=0 needs an environment with a time limit"):
        open_end.fit_to_env(None)
    assert OnPolicySpec(length=70, batch_rows=2).fit_to_env(None).length == 70
    assert open_end.schema({}, ()) == SequenceSchema(length=0)
