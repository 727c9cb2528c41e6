from collections import Counter

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from modules import keys
from modules.replay.rows import NONE, Links, SequenceBuilder, SequenceSchema, narrow
from tests.modules.builders import STATE, STREAM_SPACES, STREAM_STATES, stream

EPISODES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=3)


def cut(data, widths, *, length, overlap, burn_in=0):
    """Push `data` in batches of the given widths, the last of which takes the rest; then flush."""
    cutter = SequenceBuilder(SequenceSchema(length=length, overlap=overlap, burn_in=burn_in, states=STREAM_STATES))
    links, rows = Links(), []
    start = 0
    for width in [*widths, data.shape[1]]:
        if start < data.shape[1]:
            rows.append(links.link(cutter.push(data[:, start : start + width]), sum(map(len, rows))))
            start += width
    return torch.cat([*rows, links.link(cutter.flush(), sum(map(len, rows)))])


def steps_of(row):
    """Serial numbers of a row's real steps."""
    return [int(x) for x in row[keys.OBSERVATION][:-1, 0][row[keys.MASK]]]


def serials(data):
    return Counter(int(x) for x in data[keys.OBSERVATION].flatten())


def test_rows_by_hand():
    """One environment: an episode of 5 steps that is truncated, one of 2 that terminates, one that runs."""
    rows = cut(stream([[5, 2, 3, 1]])[:, :10], [4, 4], length=3, overlap=0)
    assert [steps_of(row) for row in rows.unbind(0)] == [[0, 1, 2], [3, 4], [100, 101], [200, 201, 202]]
    # T+1 observations: the real final one follows the last step, and fills the padding.
    assert rows[keys.OBSERVATION].squeeze(-1).tolist() == [
        [0, 1, 2, 3],
        [3, 4, 5, 5],
        [100, 101, 102, 102],
        [200, 201, 202, 203],
    ]
    assert rows[keys.MASK].int().tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1]]
    last = torch.tensor([2, 1, 1, 2]), torch.arange(4)
    assert rows[keys.TERMINATED][last[1], last[0]].tolist() == [False, False, True, False]
    assert rows[STATE].flatten().tolist() == [0.5, 3.5, 100.5, 200.5]


def test_overlap_by_hand():
    """Rows of 3 that share 2: a tail is stored only if it has a step that no row before it had."""
    rows = cut(stream([[5, 2, 1]])[:, :7], [2, 2], length=3, overlap=2)
    assert [steps_of(row) for row in rows.unbind(0)] == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [100, 101]]


def test_burn_in_by_hand():
    """Rows of 3 learned steps behind 2 of burn-in, which is padding at an episode's start."""
    rows = cut(stream([[7, 2, 1]])[:, :9], [4, 2], length=3, overlap=1, burn_in=2)
    assert [steps_of(row) for row in rows.unbind(0)] == [[0, 1, 2], [0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [100, 101]]
    assert rows[keys.MASK].int().tolist() == [[0, 0, 1, 1, 1], [1] * 5, [1] * 5, [0, 0, 1, 1, 0]]
    assert rows[keys.OBSERVATION].squeeze(-1).int().tolist() == [
        [0, 0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 6, 7],
        [100, 100, 100, 101, 102, 102],
    ]
    assert rows[STATE].flatten().tolist() == [0.5, 0.5, 2.5, 100.5]  # before the first real step
    assert rows[keys.PREVIOUS_ROW_ID].tolist() == [NONE, 0, 1, NONE]


@given(EPISODES, st.lists(st.integers(1, 7), max_size=6), st.integers(1, 6), st.data())
def test_burn_in_changes_nothing_but_what_is_in_front(episodes, widths, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    burn_in = data.draw(st.integers(1, length - overlap))
    steps = stream(episodes)
    bare = cut(steps, widths, length=length, overlap=overlap)
    rows = cut(steps, widths, length=length, overlap=overlap, burn_in=burn_in)
    for key in (keys.OBSERVATION, keys.ACTION, keys.REWARD, keys.TERMINATED, keys.MASK):
        assert torch.equal(rows[key][:, burn_in:], bare[key])
    assert torch.equal(rows[keys.PREVIOUS_ROW_ID], bare[keys.PREVIOUS_ROW_ID])
    for row in rows.unbind(0):
        real = steps_of(row)
        assert real == list(range(real[0], real[0] + len(real)))
        assert row[STATE].item() == real[0] + 0.5
        assert row[keys.MASK][:burn_in].all() == (row[keys.PREVIOUS_ROW_ID] != NONE)
        assert row[keys.MASK][:burn_in].any() == (row[keys.PREVIOUS_ROW_ID] != NONE)


def test_steps_wait_until_their_row_is_complete():
    data = stream([[9, 9], [4, 9]])
    cutter = SequenceBuilder(SequenceSchema(length=6, states=STREAM_STATES))
    assert cutter.push(data[:, :3]).shape == (0,)
    assert [steps_of(row) for row in cutter.push(data[:, 3:5]).unbind(0)] == [[10_000, 10_001, 10_002, 10_003]]
    assert [steps_of(row) for row in cutter.push(data[:, 5:6]).unbind(0)] == [[0, 1, 2, 3, 4, 5]]


def test_flush_ends_episodes_and_forgets_them():
    data = stream([[9, 9], [4, 9]])
    cutter = SequenceBuilder(SequenceSchema(length=6, states=STREAM_STATES))
    assert cutter.flush() is None
    cutter.push(data[:, :5])
    tails = cutter.flush()
    assert [steps_of(row) for row in tails.unbind(0)] == [[0, 1, 2, 3, 4], [10_100]]
    assert not tails[keys.TERMINATED].any()
    assert tails[keys.OBSERVATION][:, -1].flatten().tolist() == [5, 10_101]
    assert cutter.flush() is None
    # What comes next starts new episodes, even if the numbers continue.
    cutter.push(data[:, 5:7])
    assert [steps_of(row) for row in cutter.flush().unbind(0)] == [[5, 6], [10_101, 10_102]]


@given(EPISODES, st.lists(st.integers(1, 7), max_size=6), st.integers(1, 6), st.data())
@example([[1, 1, 1], [3]], [1, 1], 4, None)
def test_rows_keep_their_promises(episodes, widths, length, data):
    overlap = data.draw(st.integers(0, length - 1)) if data else 3
    steps = stream(episodes)
    rows = cut(steps, widths, length=length, overlap=overlap)
    covered = Counter()
    for row in rows.unbind(0):
        real = steps_of(row)
        start = real[0]
        count = len(real)
        # One episode, in order, from its start in strides; padding only behind the real steps.
        assert real == list(range(start, start + count))
        assert start % 100 % (length - overlap) == 0
        assert row[keys.MASK].tolist() == [t < count for t in range(length)]
        assert row[keys.OBSERVATION][count:].unique().tolist() == [start + count]
        assert row[STATE].item() == start + 0.5
        assert row[keys.REWARD][:count].tolist() == [-x for x in real]
        assert row[keys.ACTION][:count].tolist() == [x % 7 for x in real]
        # Each row has something new.
        assert any(x not in covered for x in real)
        covered.update(real)
    assert covered.keys() == serials(steps).keys()
    assert max(covered.values()) <= -(-length // (length - overlap))
    if overlap == 0:
        assert covered == serials(steps)
    ends = {int(x) for x in steps[keys.OBSERVATION][steps["next", keys.TERMINATED]]}
    terminal = {
        x for row in rows.unbind(0) for x, end in zip(steps_of(row), row[keys.TERMINATED].tolist(), strict=False) if end
    }
    assert terminal == ends


@given(EPISODES, st.lists(st.integers(1, 7), max_size=6), st.integers(1, 6), st.data())
def test_rows_do_not_depend_on_the_batches(episodes, widths, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    steps = stream(episodes)
    one, many = (cut(steps, w, length=length, overlap=overlap) for w in ([], widths))

    def content(rows):
        before = rows[keys.PREVIOUS_ROW_ID]  # numbers depend on the order; what the row before starts with does not
        rows[keys.PREVIOUS_ROW_ID] = torch.where(before == NONE, NONE, rows[keys.OBSERVATION][before, 0, 0].long())
        return sorted(str({key: value.tolist() for key, value in row.items()}) for row in rows.unbind(0))

    assert content(one) == content(many)


@pytest.mark.parametrize("overlap", [0, 3])
def test_rows_follow_the_template(overlap):
    rows = cut(stream([[5, 2, 3]]), [4], length=4, overlap=overlap)
    rows[keys.ACTION] = rows[keys.ACTION].to(narrow(7))  # as the replay does when it stores them
    template = SequenceSchema(length=4, states=STREAM_STATES).template(STREAM_SPACES)
    assert {k: (v.shape, v.dtype) for k, v in template.items()} == {k: (v.shape[1:], v.dtype) for k, v in rows.items()}


@pytest.mark.parametrize(("n_actions", "dtype"), [(2, torch.uint8), (256, torch.uint8), (257, torch.int16)])
def test_actions_are_stored_in_the_smallest_type(n_actions, dtype):
    assert narrow(n_actions) == dtype
    assert torch.tensor(n_actions - 1, dtype=dtype).item() == n_actions - 1
