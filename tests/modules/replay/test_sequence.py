from itertools import count
from types import SimpleNamespace

import pytest
import torch

from modules import checkpoint, keys
from modules.collect import SyncSpec
from modules.keys import Entry, Spaces
from modules.networks.recurrent import LSTM_STATE
from modules.replay.base import ReplayContext
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.replay.storage import CompressedSpec, MemmapSpec
from modules.spec import UsageError
from tests.modules.builders import STATE, STREAM_SPACES, STREAM_STATES, stream

LENGTH, CAPACITY_ROWS, BATCH_ROWS, STEPS = 4, 10, 8, 6


def settings(**changes):
    base = {
        "capacity": CAPACITY_ROWS * LENGTH,
        "length": LENGTH,
        "burn_in": 0,
        "overlap": 0,
        "state": "stored",
        "batch_rows": BATCH_ROWS,
        "ratio": 2.0,
        "mirror": False,
        "cross_mixture": 0.0,
        "storage": MemmapSpec(),
    }
    return SequenceSpec(**{**base, **changes})


def make(directory, *, save_every=40, seed=0, burst=STEPS, spaces=STREAM_SPACES, states=STREAM_STATES, **changes):
    spec = settings(**changes)
    layout = spec.schema(states, ())
    return SequenceReplay(
        spec,
        ReplayContext(
            directory=directory, spaces=spaces, schema=layout, save_every=save_every, batch_frames=burst, seed=seed
        ),
    )


def serial(number, episode=4):
    """A batch [1, 6] of whole episodes, unlike that of any other number."""
    batch = stream([[episode] * (STEPS // episode + 2)])[:, :STEPS]
    batch[keys.OBSERVATION] += 1000 * number
    return batch


def fill(replay, numbers, episode=4):
    """Extend and sample, and save whenever the replay says that it must; returns what was saved, oldest first."""
    saves = []
    for number in numbers:
        replay.extend(serial(number, episode))
        replay.sample()
        if replay.must_save:
            replay.truncate()
            saves.append(replay.state_dict())
    return saves


def firsts(rows):
    """The serial number of each row's first step: tells rows apart."""
    return rows[keys.OBSERVATION][:, 0, 0].int().tolist()


def draws(replay, batches=100):
    return [x for _ in range(batches) for x in firsts(replay.sample())]


def test_sampler_draws_uniformly_from_the_last_capacity_rows(tmp_path):
    replay = make(tmp_path)
    ring = replay.settings.ring_rows(40, STEPS)
    seen = []
    for number in range(3 * ring):
        batch = serial(number, episode=3)
        replay.extend(batch)
        # Two whole episodes of 3 steps each: the rows start at columns 0 and 3.
        seen += batch[keys.OBSERVATION][0, [0, 3], 0].int().tolist()
        assert len(replay) == min(len(seen), CAPACITY_ROWS)
        if number in (0, 4, ring // 2, 2 * ring, 3 * ring - 1):  # before, at and after the ring is full
            drawn = draws(replay)
            recent = seen[-CAPACITY_ROWS:]
            assert set(drawn) == set(recent)
            expected = len(drawn) / len(recent)
            assert all(abs(drawn.count(x) - expected) < 5 * expected**0.5 for x in recent)


def test_rows_come_back_as_they_went_in(tmp_path):
    replay = make(tmp_path)
    batch = serial(3, episode=6)  # one row of 4 steps and one of 2
    replay.extend(batch)
    rows = torch.cat([replay.sample() for _ in range(5)])
    for row in rows.unbind(0):
        column = 0 if row[keys.MASK].all() else 4
        steps = int(row[keys.MASK].sum())
        assert steps == (4 if column == 0 else 2)
        here = batch[0, column : column + steps]
        assert torch.equal(row[keys.OBSERVATION][:steps], here[keys.OBSERVATION])
        assert torch.equal(row[keys.ACTION][:steps], here[keys.ACTION])
        assert torch.equal(row[keys.REWARD][:steps], here["next", keys.REWARD].squeeze(-1))
        assert torch.equal(row[keys.OBSERVATION][steps], here["next", keys.OBSERVATION][-1])
        assert torch.equal(row[STATE], here[STATE][0])
    assert rows[keys.MASK].sum(1).unique().tolist() == [2, 4]


def test_samples_are_copies(tmp_path):
    replay = make(tmp_path)
    replay.extend(serial(1))
    replay.sample()[keys.OBSERVATION].fill_(-1)
    assert -1 not in draws(replay)


def test_truncate_stores_the_tails_of_running_episodes(tmp_path):
    replay = make(tmp_path)
    replay.extend(stream([[3, 9]])[:, :5])
    assert set(draws(replay, 5)) == {0}
    replay.truncate()
    assert set(draws(replay, 5)) == {0, 100}
    replay.truncate()
    assert len(replay) == 2


@pytest.mark.parametrize("save_every", [1, 40, 400])
@pytest.mark.parametrize("episode", [1, 2, 4, 9])
@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("envs", [1, STEPS])
def test_must_save_protects_what_the_two_newest_checkpoints_refer_to(tmp_path, save_every, episode, overlap, envs):
    """A checkpoint's rows are those below its cursor, down to the capacity; the ring must still hold them."""
    replay = make(tmp_path, save_every=save_every, overlap=overlap)
    ring = replay.settings.ring_rows(save_every, STEPS)
    cursors = [replay.state_dict()["written"]] * 2
    most_at_risk = 0
    numbers = count()
    while len(cursors) < 6:
        replay.extend(serial(next(numbers), episode).reshape(envs, STEPS // envs))
        if replay.must_save:
            replay.truncate()
            # The newest checkpoint is complete only after this; until then the two before it may be needed.
            most_at_risk = max(most_at_risk, replay._written - cursors[-2])
            cursors.append(replay.state_dict()["written"])
            assert not replay.must_save
    assert most_at_risk <= ring - replay.settings.capacity_rows


@pytest.mark.parametrize("ends", [True, False], ids=["episodes end at saves", "they go on"])
@pytest.mark.parametrize("episode", [1, 4, 9])
def test_many_more_workers_than_steps_overwrite_nothing_that_a_checkpoint_refers_to(tmp_path, episode, ends):
    """64 of them; before the last save, which may come at any time, all running episodes end."""
    workers = 64
    replay = make(tmp_path, save_every=64, burst=SyncSpec(num_envs=workers, steps=1).burst, overlap=3)
    ring = replay.settings.ring_rows(64, workers)
    cursors = [0, 0]
    numbers = count()
    while len(cursors) < 14:
        number = next(numbers)
        replay.extend(serial(number, episode), number % workers)
        if replay.must_save:
            if ends or len(cursors) == 13:
                replay.truncate()
            assert replay._written - cursors[-2] <= ring - replay.settings.capacity_rows
            cursors.append(replay.state_dict()["written"])
            assert not replay.must_save
    assert number > workers


def test_must_save_is_false_at_the_usual_pace(tmp_path):
    """With full rows the loop's own cadence saves first."""
    replay = make(tmp_path, save_every=60)
    for number in range(60 // STEPS):
        assert not replay.must_save
        replay.extend(serial(number, episode=4 * STEPS))
    assert not replay.must_save


@pytest.mark.parametrize("storage", [MemmapSpec(), CompressedSpec(expected_ratio=4)], ids=["memmap", "compressed"])
@pytest.mark.parametrize("back", [-1, -2])
def test_restored_replay_samples_like_the_uninterrupted_one(tmp_path, back, storage):
    """Rows written after the checkpoint are garbage to the restored replay, and must never be seen."""
    replay = make(tmp_path / "a", storage=storage)
    kept = fill(replay, range(40))[back]
    while not replay.must_save:
        replay.extend(serial(900, episode=1))
    replay.truncate()
    restored = make(tmp_path / "a", seed=5, storage=storage)
    restored.refuse_damage(kept)
    restored.load_state_dict(kept)

    uninterrupted = make(tmp_path / "b")
    for number in range(40):
        if any(save["written"] == kept["written"] for save in fill(uninterrupted, [number])):
            break
    for number in range(100, 200):
        a, b = restored.sample(), uninterrupted.sample()
        assert (a == b).all()
        assert not any(x >= 900_000 for x in firsts(a))
        for twin in (restored, uninterrupted):
            fill(twin, [number])


def test_checkpoint_of_the_replay_is_small_and_survives_the_file(tmp_path):
    replay = make(tmp_path / "ring")
    fill(replay, range(10))
    path = checkpoint.save(tmp_path, 1, {"replay": replay.state_dict()}, keep=1)
    expected = draws(replay, 3)
    replay.load_state_dict(checkpoint.load(path)["replay"])
    assert draws(replay, 3) == expected
    assert path.stat().st_size < 10_000


def test_sampling_is_a_stream_of_its_own(tmp_path):
    a, b, c = (make(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for replay in (a, b, c):
        fill(replay, range(5))
    before = torch.get_rng_state()
    drawn = draws(a, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert draws(b, 3) == drawn
    assert draws(c, 3) != drawn


def test_reopened_directory_has_the_same_rows(tmp_path):
    replay = make(tmp_path)
    fill(replay, range(7))
    state = replay.state_dict()
    expected = [replay.sample() for _ in range(5)]
    del replay
    again = make(tmp_path)
    again.load_state_dict(state)
    for rows in expected:
        assert (again.sample() == rows).all()


@pytest.mark.parametrize(
    "change",
    [
        {"length": 5},
        {"spaces": Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=7)},
        {"spaces": Spaces(observation_shape=(1,), observation_dtype=torch.uint8, n_actions=7)},
        {"states": {}},
        {"states": {STATE: Entry((1, 2))}},
        {"states": dict.fromkeys(LSTM_STATE, Entry((1, 1)))},
    ],
    ids=str,
)
def test_ring_of_another_schema_is_refused(tmp_path, change):
    replay = make(tmp_path)
    fill(replay, range(3))
    if "length" in change:  # as many rows as before, each a step longer
        change = {**change, "capacity": CAPACITY_ROWS * 5, "save_every": 50}
        assert settings(length=5, capacity=50).ring_rows(50, STEPS) == settings().ring_rows(40, STEPS)
    with pytest.raises(UsageError):
        make(tmp_path, **change)


@pytest.mark.parametrize("burn_in", [0, 3])
def test_updates_owed_follow_the_ratio(burn_in, tmp_path):
    replay = make(tmp_path, burn_in=burn_in)
    assert replay.updates_due(100) == 0
    fill(replay, range(7))
    assert len(replay) >= BATCH_ROWS
    # Two learned steps for each collected one, in batches of 8 rows of 4 steps; a burn-in is not learned.
    assert replay.updates_due(160) == 160 * 2 / 32


def test_footprint_is_what_the_files_take(tmp_path):
    replay = make(tmp_path)
    fill(replay, range(3))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.memmap"))
    ring = replay.settings.ring_rows(40, STEPS)
    assert replay.settings.footprint(STREAM_SPACES, replay.settings.schema(STREAM_STATES, ()), ring) == size


def test_needs_name_what_does_not_hold():
    run = SimpleNamespace(warmup_frames=10)
    assert not list(settings().needs(run))
    assert "replay.overlap=4 must be smaller" in next(iter(settings(overlap=4).needs(run)))
    assert "fewer than replay.batch_rows=8" in next(iter(settings(capacity=28).needs(run)))
    assert "warmup_frames=41" in next(iter(settings().needs(SimpleNamespace(warmup_frames=41))))
