"""Compressed rows are drawn, read, and gone back to as uncompressed ones are."""

import errno
import os
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules import keys
from modules.keys import Spaces
from modules.replay.compressed import footprint
from modules.replay.cut_rows import CutRows
from modules.replay.rows import SequenceBuilder
from modules.replay.storage import CompressedSpec
from modules.spec import UsageError
from tests.modules.builders import STREAM_STATES
from tests.modules.replay.test_sequence import CAPACITY_ROWS, STEPS, fill, make, serial
from tests.modules.replay.test_sequence import settings as settings_of

PIXELS = Spaces(observation_shape=(3, 8, 8), observation_dtype=torch.uint8, n_actions=7)


def compressed(directory, *, ratio=4.0, **words):
    return make(directory, storage=CompressedSpec(expected_ratio=ratio), **words)


def of_pixels(number, episode, *, noise):
    """A batch as `serial` makes it, with pictures, of noise or all alike."""
    batch = serial(number, episode)
    generator = torch.Generator().manual_seed(number)
    for place in (keys.OBSERVATION, ("next", keys.OBSERVATION)):
        shape = (*batch.shape, *PIXELS.observation_shape)
        batch[place] = torch.randint(256 if noise else 1, shape, generator=generator).to(torch.uint8)
    return batch


def extend_with_noise(replay, batches):
    for number in range(batches):
        replay.extend(of_pixels(number, 4, noise=True))


def segments(directory):
    return sorted(directory.glob("*.lz4"))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), ratio=st.sampled_from([1.0, 4.0, 50.0]), noise=st.booleans())
def test_draws_and_rows_are_those_of_the_memory_map(tmp_path_factory, data, ratio, noise):
    """Whatever the lengths of episodes and the bytes, over many rounds of the ring, and after going back to a save."""
    base = tmp_path_factory.mktemp("rows")
    plain, packed = make(base / "a", spaces=PIXELS), compressed(base / "b", ratio=ratio, spaces=PIXELS)
    twins, saved, number = (plain, packed), None, 0
    for _ in range(data.draw(st.integers(1, 60))):
        episode = data.draw(st.integers(1, STEPS))
        batch = of_pixels(number, episode, noise=noise)
        number += 1
        for twin in twins:
            twin.extend(batch.clone())
            if twin.must_save:
                twin.truncate()
                saved = {**(saved or {}), twin: twin.state_dict()}
        assert (plain.sample() == packed.sample()).all()
    if saved:
        for twin in twins:
            twin.load_state_dict(saved[twin])
            twin.refuse_damage(saved[twin])
        for _ in range(8):
            assert (plain.sample() == packed.sample()).all()
            batch = of_pixels(number, 3, noise=noise)
            number += 1
            for twin in twins:
                twin.extend(batch.clone())


def test_rows_that_actors_packed_are_written_as_they_came(tmp_path, monkeypatch):
    """Compressed rows without being compressed again, the others unpacked; both as the learner's own."""
    own, packed = (compressed(tmp_path / name, spaces=PIXELS) for name in ("own", "packed"))
    plain = make(tmp_path / "plain", spaces=PIXELS)
    cutter = SequenceBuilder(own.settings.schema(STREAM_STATES, ()))
    batches = [of_pixels(number, 4, noise=number % 2 == 0) for number in range(10)]
    ready = [CutRows(cutter.push(batch)).pack() for batch in batches]
    for batch in batches:
        own.extend(batch)
    monkeypatch.setattr("modules.replay.cut_rows.lz4.block.compress", None)
    for batch, rows in zip(batches, ready, strict=True):
        for replay in (packed, plain):
            replay.extend(batch[..., :0], 0, CutRows.unpack(rows))
    drawn = own.sample()
    for replay in (packed, plain):
        assert (replay.sample() == drawn).all()
    written = [[file.read_bytes() for file in segments(tmp_path / name)] for name in ("own", "packed")]
    assert written[0] == written[1]


def test_vectors_come_back_bit_for_bit(tmp_path):
    plain, packed = make(tmp_path / "a"), compressed(tmp_path / "b")
    for number in range(40):
        for twin in (plain, packed):
            fill(twin, [number])
        assert (plain.sample() == packed.sample()).all()


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_segments_are_used_again_and_added_only_where_observations_shrink_less_than_expected(tmp_path, ratio):
    noisy = compressed(tmp_path, spaces=PIXELS, ratio=ratio)
    at_first = len(segments(tmp_path))
    extend_with_noise(noisy, 300)
    many = len(segments(tmp_path))
    assert many == at_first if ratio == 1 else many > 2 * at_first
    assert noisy._written > 5 * noisy._storage.max_size
    extend_with_noise(noisy, 300)
    assert len(segments(tmp_path)) == many
    assert 1 < noisy.measures()["replay/compression"] < 2  # of padding, which repeats the last step


def test_the_ratio_of_pictures_that_are_all_alike_is_large(tmp_path):
    alike = compressed(tmp_path, spaces=PIXELS)
    alike.extend(of_pixels(0, 4, noise=False))
    assert alike.measures()["replay/compression"] > 10


def test_footprint_is_what_the_files_take_at_first(tmp_path):
    replay = compressed(tmp_path, spaces=PIXELS)
    size = sum(path.stat().st_size for path in [*tmp_path.glob("*.memmap"), *segments(tmp_path)])
    schema, rows = replay.settings.schema(STREAM_STATES, ()), replay.settings.ring_rows(40, STEPS)
    assert footprint(schema.fields(PIXELS), rows, 4.0) == size
    assert replay.settings.footprint(PIXELS, schema, rows) == size
    assert settings_of().footprint(PIXELS, schema, rows) > 2 * size


def lose(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:7])


def empty(path):
    path.write_bytes(b"")


def reopen(directory, state):
    again = compressed(directory, spaces=PIXELS)
    again.refuse_damage(state)
    again.load_state_dict(state)
    return again


def newest_segment(replay):
    return int(replay._storage.fields["segment"][(replay._written - 1) % replay._storage.max_size])


@pytest.mark.parametrize(
    ("damage", "words"), [(lose, "missing"), (cut, "7 bytes, fewer than were written"), (empty, "0 bytes, fewer than")]
)
@pytest.mark.parametrize("newest", [True, False])
def test_damaged_segments_are_refused_by_name(tmp_path, damage, words, newest):
    replay = compressed(tmp_path, spaces=PIXELS)
    extend_with_noise(replay, 3)
    state, number = replay.state_dict(), newest_segment(replay) if newest else 0
    damage(segments(tmp_path)[number])
    there = segments(tmp_path)
    with pytest.raises(UsageError, match=rf"observation_{number:04}\.lz4: {words}"):
        reopen(tmp_path, state)
    assert segments(tmp_path) == there


def test_a_block_that_is_no_block_is_an_error_where_it_is_read(tmp_path):
    replay = compressed(tmp_path, spaces=PIXELS)
    extend_with_noise(replay, 3)
    for path in segments(tmp_path):
        path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(UsageError, match=r"observation_\d+\.lz4: damaged, row \d+ cannot be read"):
        reopen(tmp_path, replay.state_dict()).sample()


def test_numbers_that_no_run_writes_are_refused(tmp_path):
    replay = compressed(tmp_path)
    batch = serial(0)
    batch[keys.OBSERVATION] += torch.inf
    replay.extend(batch)
    with pytest.raises(UsageError, match=r"observation_0000\.lz4: damaged, for row 0 holds what no run writes"):
        replay.refuse_damage(replay.state_dict())


def test_a_full_disk_is_a_sentence_and_loses_nothing_that_can_be_written_later(tmp_path, monkeypatch):
    replay, plain = compressed(tmp_path / "a", spaces=PIXELS), make(tmp_path / "b", spaces=PIXELS)
    claim = os.posix_fallocate

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    number = 0
    with pytest.raises(UsageError, match=r"no room for the replay .*: make room there"):  # noqa: PT012
        for number in count():
            plain.extend(of_pixels(number, 4, noise=True))
            replay.extend(of_pixels(number, 4, noise=True))
    with pytest.raises(UsageError, match="no room"):
        replay.truncate()
    assert not list((tmp_path / "a").glob("*.part"))
    monkeypatch.setattr(os, "posix_fallocate", claim)
    for twin in (replay, plain):
        twin.truncate()
    restored = reopen(tmp_path / "a", replay.state_dict())
    for further in range(number, number + 40):
        assert (restored.sample() == plain.sample()).all()
        for twin in (restored, plain):
            twin.extend(of_pixels(further, 3, noise=True))


class Killed(BaseException):
    """The process is gone, in the middle of a write."""


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_killed_in_the_middle_of_a_write_it_has_the_rows_of_both_checkpoints(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("killed")
    replay = compressed(directory, spaces=PIXELS)
    saves = [replay.state_dict()] * 2
    for number in range(data.draw(st.integers(20, 150))):
        replay.extend(of_pixels(number, data.draw(st.integers(1, STEPS)), noise=True))
        if replay.must_save:
            replay.truncate()
            saves.append(replay.state_dict())
    rows = [window(replay, state) for state in saves[-2:]]
    append, left = replay._storage._segments.append, data.draw(st.integers(0, 12))

    def dying(*words):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return append(*words)

    replay._storage._segments.append = dying
    with pytest.raises(Killed):
        extend_with_noise(replay, 100)
    for state, expected in zip(saves[-2:], rows, strict=True):
        found = window(reopen(directory, state), state)
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def window(replay, state):
    """The rows that a checkpoint refers to."""
    return replay._storage.read(torch.arange(max(0, state["written"] - CAPACITY_ROWS), state["written"]))


def test_a_ring_of_the_other_kind_is_refused(tmp_path):
    fill(make(tmp_path / "a"), range(3))
    fill(compressed(tmp_path / "b"), range(3))
    with pytest.raises(UsageError, match="does not fit the configuration"):
        compressed(tmp_path / "a")
    with pytest.raises(UsageError, match="does not fit the configuration"):
        make(tmp_path / "b")
    assert not list(Path(tmp_path / "a").glob("*.lz4"))
