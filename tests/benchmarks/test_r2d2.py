from contextlib import ExitStack, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict

from benchmarks import __main__ as benchmark
from benchmarks import learning, r2d2
from benchmarks.measure import Pace, Table, Times
from benchmarks.subjects import PIXELS, R2D2, STATE, fill, open_replay, random_rows, run_of, set_apart
from benchmarks.yardsticks.bare import BareLearner, refuse_other_maths
from benchmarks.yardsticks.bare_actor import BareActor
from modules import keys
from modules.networks.recurrent import LSTM_STATE
from modules.previous_step import NO_ACTION
from modules.replay.sequence import SequenceReplay
from modules.spec import UsageError

ONCE = Pace(rounds=1, section_s=0, quick=True)


def both(run, **target):
    """Make our learner of a run and the bare one, with the same weights."""
    torch.manual_seed(0)
    ours = learning.learning(run)
    other = replace(run, target=replace(run.target, **target))
    return ours.learner, BareLearner(other, ours.network, set_apart(ours))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["network/memory=gru"],
        ["network/memory=none"],
        ["network/inputs=none", "replay.burn_in=0"],
        ["network.inputs.previous_action=false"],
        ["network/head=q"],
        ["loss.huber_delta=1", "replay.burn_in=7"],
        ["target.tau=1", "target.period=2"],
        [*r2d2.UNIFORM],
    ],
    ids=" ".join,
)
def test_the_bare_step_computes_the_same(overrides):
    run = run_of(R2D2, "device=cpu", *overrides)
    ours, bare = both(run)
    refuse_other_maths(ours, bare, random_rows(run))  # raises if they differ, which the tests below show
    assert ours.updates == bare.updates == 3


@pytest.mark.parametrize("change", [{"period": 2}, {"period": 3}, {"tau": 0.5}])
def test_another_target_is_refused(change):
    run = run_of(R2D2, "device=cpu", "target.tau=1")
    ours, bare = both(run, **change)
    with pytest.raises(RuntimeError, match=r"update [12]: our loss"):
        refuse_other_maths(ours, bare, random_rows(run))


def test_a_gradient_through_the_burn_in_is_refused(monkeypatch):
    run = run_of(R2D2, "device=cpu")
    ours, bare = both(run)
    monkeypatch.setattr(bare.online, "remember", torch.enable_grad()(bare.online.remember))
    with pytest.raises(RuntimeError, match=r"update [12]: our loss"):
        refuse_other_maths(ours, bare, random_rows(run))


def test_the_bare_step_reads_all_of_a_row_but_the_padding():
    run = run_of(R2D2, "device=cpu", "replay.batch_rows=4")
    _, bare = both(run)
    rows = random_rows(run)
    before, burn_in = bare.loss(rows), run.replay.burn_in
    starts = ~rows[keys.MASK][:, 0]  # rows whose burn-in is padding
    assert 0 < starts.sum() < 4

    def loss_with(key, where, value=5):
        changed = rows.clone()
        changed[key][where] = value
        return bare.loss(changed)

    padded = starts.nonzero().item(), slice(0, burn_in)
    real = (~starts).nonzero()[0].item(), slice(0, burn_in)
    for key in (keys.OBSERVATION, keys.PREVIOUS_REWARD):
        assert loss_with(key, real) != before, key
        assert loss_with(key, padded) == before, key
    did = 0, burn_in + 1
    assert loss_with(keys.PREVIOUS_ACTION, did, 0) != loss_with(keys.PREVIOUS_ACTION, did, NO_ACTION)
    for key in (*LSTM_STATE, keys.WEIGHT):
        assert loss_with(key, 0) != before, key
        assert loss_with(key, starts) != before, key


def test_the_filled_replay_has_rows_with_burn_in_and_rows_that_start_an_episode():
    run = run_of(R2D2, "replay.capacity=2000", "warmup_frames=0")
    with open_replay(run) as ring:
        fill(ring, run, episode_rows=r2d2.EPISODE_ROWS)
        assert len(ring) == run.replay.capacity_rows
        burned = torch.stack([ring.sample()[keys.MASK][:, 0] for _ in range(50)]).float().mean()
    assert abs(burned - (1 - 1 / r2d2.EPISODE_ROWS)) < 0.1


def test_an_update_from_end_to_end_writes_priorities_back(monkeypatch):
    written = []
    monkeypatch.setattr(SequenceReplay, "update", lambda replay, rows, errors: written.append((rows, errors)))
    run = run_of(R2D2, "device=cpu", "replay.capacity=2000", "warmup_frames=0")
    with ExitStack() as stack:
        r2d2.whole_update(run, stack)()
    ((rows, errors),) = written
    assert errors.shape == (run.replay.batch_rows, run.replay.length)
    assert keys.ROW in rows


def test_bytes_of_a_row_are_those_on_disk_and_all_are_accounted_for():
    run = run_of(R2D2, "replay.capacity=2000", "warmup_frames=0")
    with open_replay(run) as ring:
        files = sum(path.stat().st_size for path in ring._storage.path("observation").parent.glob("*.memmap"))
    rows = run.replay.ring_rows(run.save_every, run.collector.frames_per_batch)
    assert sum(r2d2.sizes_of(run).values()) == run.sequence_schema.template(run.spaces).bytes() == files / rows


def test_bytes_per_step_worked_out_by_hand():
    pixels, state = (run_of(exp) for exp in (PIXELS, R2D2))
    lstm = 2 * 128 * 4  # bytes of its state, once per row
    assert r2d2.least_bytes(pixels) == 20 * 160 + 1 + 4 + 1 + 1 + lstm / 20
    assert r2d2.least_bytes(state) == 2 * 4 + 1 + 4 + 1 + 1 + lstm / 60
    many = replace(state)
    many.__dict__["spaces"] = replace(state.spaces, n_actions=257)
    assert r2d2.least_bytes(many) == 2 * 4 + 2 + 4 + 1 + 1 + lstm / 60
    stored = 21 * 3200 + 20 * (1 + 4 + 1 + 1) + 8 + lstm
    assert r2d2.disk_row(pixels)[1:] == ["20", "3 419", "3 258", "1.05", "≤ 1.1: met"]
    assert stored / 20 == 3418.6
    assert r2d2.disk_row(state)[-1] == "≤ 1.1: met"


class Workers:
    """Two workers that had two batches ready each, and need a second for the next one, both at once."""

    def __init__(self):
        self.now, self.slept, self.taken = 0.0, 0.0, 0

    def __iter__(self):
        while True:
            self.taken += 1
            if self.taken > 4 and self.taken % 2:
                self.now += 1.0
            yield 0, TensorDict()

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.slept = seconds


@pytest.mark.parametrize("batches", [1, 3, 4])
def test_batches_that_were_ready_do_not_count(monkeypatch, batches):
    fake = Workers()
    monkeypatch.setattr(r2d2, "time", fake)
    assert r2d2.Collecting(iter(fake), 2).take(batches) == 0.5
    assert fake.taken == 4 + 2 * -(-batches // 2)  # as many of each worker
    assert fake.slept >= 2  # seconds that the workers need to have two ready again


def test_sides_take_turns(monkeypatch):
    log = []

    class Side:
        def __init__(self, name):
            self.name = name

        def take(self, batches):
            log.append((self.name, batches))
            return 0.5

    sides = {"a": Side("a"), "b": Side("b")}
    times = r2d2.take_turns(sides, Pace(rounds=2, section_s=8, quick=False))  # pyright: ignore[reportArgumentType]
    assert log == [("a", 4), ("b", 4), ("a", 4), ("b", 4), ("a", 4), ("b", 4)]
    assert times == Times({"a": [0.5, 0.5], "b": [0.5, 0.5]})


def test_one_core_cannot_tell_what_a_second_process_gives(monkeypatch):
    monkeypatch.setattr(r2d2, "cores", lambda: 1)
    assert "Skipped: two processes need two CPU cores" in r2d2.processes(ONCE).markdown()


def test_processes_are_compared_with_one_worker_and_with_none(monkeypatch):
    seconds = {"2 workers": [0.1, 0.1], "1 worker": [0.15, 0.15], "this process": [0.2, 0.2]}
    monkeypatch.setattr(r2d2, "cores", lambda: 2)
    monkeypatch.setattr(r2d2, "building", lambda run: nullcontext(SimpleNamespace(run=run, collection=())))
    monkeypatch.setattr(r2d2, "take_turns", lambda sides, pace: Times({name: seconds[name] for name in sides}))
    table = r2d2.processes(ONCE)
    assert isinstance(table, Table)
    assert [row[1:] for row in table.rows] == [
        ["16", "1 600", "1.00 (1.00–1.00)", "–"],
        ["8", "1 067", "1.50 (1.50–1.50)", "≥ 1.6: missed"],
        ["8", "800", "2.00 (2.00–2.00)", "≥ 1.6: met"],
    ]


def small(exp, *more):
    """Compose smaller runs."""
    return run_of(exp, "device=cpu", "replay.batch_rows=2", "replay.capacity=4000", "collector.steps=5", *more)


def test_the_section_measures(monkeypatch):
    monkeypatch.setattr(r2d2, "cores", lambda: 1)
    monkeypatch.setattr(r2d2, "run_of", small)
    text = "".join(item.markdown() for item in benchmark.SECTIONS["r2d2"](ONCE))
    for expected in ("bare PyTorch step", "2 rows of 20+40 steps", "uniform [updates/s]", "≥ 0.9", "≤ 1.1", "Skipped"):
        assert expected in text
    assert "nan" not in text


@pytest.mark.slow
def test_real_processes_are_timed(monkeypatch):
    monkeypatch.setattr(r2d2, "cores", lambda: 2)
    monkeypatch.setattr(r2d2, "run_of", small)
    monkeypatch.setattr(r2d2, "PIXELS", STATE)
    table = r2d2.processes(ONCE)
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [["2 workers", "16"], ["1 worker", "8"], ["this process", "8"]]


def test_bare_acting_without_the_previous_step_is_refused():
    run = run_of(R2D2)
    with pytest.raises(UsageError, match="no bare acting with network/inputs"):
        BareActor(run, run.network.build(run.spaces), epsilon=0)
