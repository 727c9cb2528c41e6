import sys
from contextlib import ExitStack

import pytest
import torch

from benchmarks import __main__ as benchmark
from benchmarks import novelty
from benchmarks.learning import learning
from benchmarks.measure import Missing, Pace, Table, Times
from benchmarks.novelty import AGENT57, CPU, GYM, NO_END, Nothing, Peak
from benchmarks.subjects import random_rows, run_of
from modules import keys
from modules.intrinsic import IntrinsicContext

ONCE = Pace(rounds=1, section_s=0, quick=True)


@pytest.mark.parametrize("preset", [AGENT57, GYM])
def test_memories_are_full_and_stay_so_while_they_are_measured(preset):
    run = run_of(preset, "collector.num_envs=3", "intrinsic.memory.capacity=70", *NO_END[preset])
    network = run.network.build(run.spaces).requires_grad_(False)
    intrinsic_reward = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU)).acting(3)
    memory = novelty.memory_of(intrinsic_reward)
    with ExitStack() as stack:
        step = novelty.collecting(run, network, intrinsic_reward, stack)
        assert memory._written.tolist() == [1 + run.collector.steps] * 3  # the first batch
        full = novelty.always_full(memory, step)
        for _ in range(2 + 300 // run.collector.steps):  # longer than the preset's episodes
            _, batch, _ = full()
            assert (memory._written >= 70).all()
    assert not batch["next", keys.DONE].any()
    assert (batch["next", keys.INTRINSIC] > 0).all()


def test_without_means_without():
    run = run_of(AGENT57, "collector.num_envs=2", *NO_END[AGENT57])
    with ExitStack() as stack:
        _, batch, _ = novelty.collecting(run, run.network.build(run.spaces).requires_grad_(False), Nothing(2), stack)()
    assert not batch["next", keys.INTRINSIC].any()
    assert {keys.ARM, keys.PREVIOUS_INTRINSIC, *run.network.state()} <= set(batch.keys())


def test_costs_are_compared_with_the_step_without_and_shares_of_the_step(monkeypatch):
    seconds = {"without": [1.0, 2.0, 4.0], "500": [1.2, 2.5, 6.0], "5000": [3.0, 4.0, 8.0]}
    monkeypatch.setattr(novelty, "interleave", lambda sides, pace: Times({name: seconds[name] for name in sides}))
    monkeypatch.setattr(novelty, "collecting", lambda *parts: lambda: None)
    rows = list(novelty.acting_rows(AGENT57, 64, (500, 5_000), ONCE))
    ms = 1e3 / run_of(AGENT57).collector.steps
    assert [row[5:] for row in rows] == [
        ["25 % (20–50)", "20 % (17–33)", "≤ 0.3: met"],
        ["100 % (100–200)", "50 % (50–67)", "–"],
    ]
    assert float(rows[0][3]) == 2 * ms
    seconds["500"] = [1.4, 2.9, 6.0]  # 45 % of the step without: 31 % of the step
    assert [row[-1] for row in novelty.acting_rows(AGENT57, 64, (500,), ONCE)] == ["≤ 0.3: missed"]
    assert [row[-1] for row in novelty.acting_rows(AGENT57, 1, (500,), ONCE)] == ["–"]


def test_the_control_has_the_same_sizes():
    run = run_of(AGENT57, "replay.batch_rows=3", "replay.length=9", "network.memory.hidden_size=7")
    control = novelty.control(run)
    ours, theirs = (learning(one).network for one in (run, control))
    further = sum(one.network.inputs.size(run.spaces) for one in (run,)) - control.network.inputs.size(control.spaces)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (ours.independent[0], theirs)]
    assert sizes[0] - sizes[1] == 4 * 7 * further  # the gates' weights of what only the family reads
    assert control.name == novelty.CONTROL
    assert random_rows(control)[keys.ACTION].shape == random_rows(run)[keys.ACTION].shape == (3, 9)


def test_rows_of_a_family_have_one_arm_and_probabilities():
    run = run_of(AGENT57)
    rows = random_rows(run)
    assert (rows[keys.ARM] == rows[keys.ARM][:, :1]).all()
    assert rows[keys.ARM].max() < run.spaces.n_arms
    assert len(rows[keys.ARM].unique()) > 1
    assert (rows[keys.BEHAVIOUR] > 0).all()
    assert (rows[keys.BEHAVIOUR] <= 1).all()
    assert set(run.sequence_schema.states) <= set(rows.keys())


def test_a_learner_step_is_compared_with_2_2(monkeypatch):
    monkeypatch.setattr(
        novelty, "interleave", lambda sides, pace: Times({name: [s] for name, s in zip(sides, (1, 2, 3), strict=True)})
    )
    table = novelty.learner(ONCE)
    assert [row[2:] for row in table.rows] == [
        ["0.455 (0.455–0.455)", "–"],
        ["0.909 (0.909–0.909)", "≤ 1: met"],
        ["1.36 (1.36–1.36)", "–"],
    ]


def test_the_peak_of_a_process_is_its_own():
    """Not ours, which is larger, and not what it had at its end."""
    held = torch.ones(200_000_000, dtype=torch.uint8)
    code = "import time; x = bytearray(80_000_000); time.sleep(0.5); del x; time.sleep(0.5)"
    found = novelty.peak_of([sys.executable, "-c", code])
    assert 80e6 < found.anonymous <= found.resident < 150e6
    assert held.nbytes > found.resident


def test_a_process_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match=r"ended with 1: .*nothing of it"):
        novelty.peak_of([sys.executable, "-c", "raise SystemExit('nothing of it')"])


def test_what_is_trained_can_be_trained():
    for exp in (AGENT57, novelty.CONTROL):
        run = run_of(*(word.removeprefix("+exp=") for word in novelty.training(exp, 3_000)))
        assert run.total_frames == 3_000
        assert run.warmup_frames < 3_000


def test_without_proc_memory_is_not_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(novelty, "PROC", tmp_path)
    assert isinstance(novelty.peak(ONCE), Missing)


def test_bytes_worked_out_by_hand():
    table = novelty.held()
    assert table.rows[1][1:6] == ["64", "30 000", "32", "246", "246"]
    assert 64 * 30_000 * 32 * 4 == 245_760_000
    network = 101 * 64 + 64 + 64 * 32 + 32
    assert float(table.rows[1][6]) == pytest.approx(64 * 4 * network / 1e6, rel=0.01)


def test_shares_are_percents():
    assert novelty.percent((0.25, 0.1, 2)) == "25 % (10–200)"


def test_the_section_measures(monkeypatch):
    monkeypatch.setattr(novelty, "SIZES", (20, 30))
    monkeypatch.setattr(novelty, "COUNTS", (1, 2, 4))
    monkeypatch.setattr(novelty, "AIM", (4, 20))
    monkeypatch.setattr(novelty, "peak_of", lambda words: Peak(2e8, 1e8))
    tables = list(benchmark.SECTIONS["novelty"](ONCE))
    assert all(isinstance(table, Table) for table in tables)
    text = "".join(table.markdown() for table in tables)
    found = [row[1:3] for row in tables[0].rows]
    assert found == [["1", "20"], ["1", "30"], ["4", "20"], ["4", "30"], ["4", "20"]]
    assert [row[-1][:5] for row in tables[0].rows] == ["–", "–", "≤ 0.3", "–", "≤ 0.3"]
    assert [row[0] for row in tables[0].rows] == [AGENT57] * 4 + [GYM]
    assert tables[2].rows == [[AGENT57, "3 000", "200", "100"]]
    assert "nan" not in text
