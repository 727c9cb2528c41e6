from contextlib import closing

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv

from benchmarks import dqn
from benchmarks.acting import building
from benchmarks.learning import learning
from benchmarks.measure import Missing, Pace, Table
from benchmarks.subjects import process_of, random_rows, run_of
from benchmarks.yardsticks import single
from benchmarks.yardsticks.bare import refuse_other_maths
from benchmarks.yardsticks.single import SingleEnvironment
from modules import keys
from modules.losses.q import QLossSpec
from modules.spec import UsageError

ONCE = Pace(rounds=1, section_s=0, quick=True)
LITTLE = ("warmup_frames=0", "collector.num_envs=8", "replay.capacity=4000")


@pytest.fixture
def run():
    return run_of(single.EXP, *single.ONE_STEP, "replay.batch_rows=32", *LITTLE)


def test_both_sides_learn_as_many_steps_from_as_many_frames(run):
    frames = run.collector.frames_per_batch
    with process_of(run), building(run) as parts, closing(SingleEnvironment(run)) as alone:
        ours = dqn.training(parts)
        for _ in range(5):
            ours()
            alone.train(frames)
        assert alone.frames == 5 * frames
        due = 5 * frames * run.replay.ratio / run.replay.batch_rows
        assert parts.learner.updates == pytest.approx(due, abs=1)
        assert alone.learner.updates == pytest.approx(due, abs=1)


def test_the_single_environment_follows_the_runs_schedules():
    words = ("warmup_frames=100", "exploration.anneal_frames=200", "exploration.end=0")
    run = run_of(single.EXP, *single.ONE_STEP, *words)
    with process_of(run), closing(SingleEnvironment(run)) as alone:
        asked = []
        alone.best = lambda sight: asked.append(alone.frames) or 0
        alone.train(100)
        assert alone.learner.updates == 0
        alone.train(200)
        assert alone.learner.updates == pytest.approx(200 / 10, abs=1)  # CleanRL's 128 steps every 10 frames
        assert alone.learner.optim_settings.lr == 2e-3
        assert asked[-100:] == list(range(200, 300))  # ε is 0 from here on, and was 1 at first
        assert len([frame for frame in asked if frame < 20]) < 10


def test_the_single_environment_learns_from_what_happened(run):
    with process_of(run), closing(SingleEnvironment(run)) as alone:
        for _ in range(300):
            alone.step()
        rows, env = alone.batch(), CartPoleEnv()
        for sight, action, ended in zip(rows[keys.OBSERVATION], rows[keys.ACTION], rows[keys.TERMINATED], strict=True):
            env.state = sight[0].double().numpy()
            env.steps_beyond_terminated = None
            after, reward, terminated, _, _ = env.step(int(action))
            np.testing.assert_allclose(after, sight[1], atol=1e-5)
            assert (reward, terminated) == (1, bool(ended))
        assert rows[keys.TERMINATED].any()
        assert rows[keys.MASK].all()
        assert (rows[keys.REWARD] == 1).all()


def test_cleanrls_loss_is_what_its_file_has():
    run = run_of(single.EXP, *single.ONE_STEP, *single.CLEANRL)
    assert isinstance(run.loss, QLossSpec)
    assert (run.loss.huber_delta, run.loss.double, run.loss.rescale_eps) == (0, False, 0)
    assert (run.target.tau, run.optim.ema_decay) == (1, 0)
    assert single.frames_per_update(run) * run.target.period == 500
    assert single.steps_per_update(run) == 128


def test_it_acts_by_the_newest_weights_and_is_judged_by_the_averaged_ones(run):
    with process_of(run), closing(SingleEnvironment(run)) as alone, torch.no_grad():
        for weights, bias in ((alone.learner.values, [1.0, 0.0]), (alone.learner.averages, [0.0, 1.0])):
            for weight in weights:
                weight.zero_()
            next(weight for weight in weights if weight.shape == (2,)).copy_(torch.tensor(bias))
        assert (alone.best(alone.sight), alone.greedy(alone.sight)) == (0, 1)


@pytest.mark.parametrize("words", [(), (*single.CLEANRL, "target.period=2")], ids=["one-step", "CleanRL"])
def test_its_maths_is_ours(words):
    run = run_of(single.EXP, *single.ONE_STEP, *words, "replay.batch_rows=32", *LITTLE)
    with process_of(run), closing(SingleEnvironment(run)) as alone:
        ours = learning(run)
        alone.learner.online.take_weights(ours.network)
        alone.learner.target.take_weights(ours.network)
        refuse_other_maths(ours.learner, alone.learner, random_rows(run))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("loss=dqn",), "replay.length=1"),
        (("loss=retrace", "replay.length=1"), "loss=q or dqn"),
        (("loss=dqn", "replay.length=1", "network/memory=gru"), "network/memory=none"),
        (("env=shower", "loss=dqn", "replay.length=1"), "env=gym"),
    ],
)
def test_what_it_does_not_know_is_refused(words, sentence):
    run = run_of("drqn_cartpole_masked", "network/memory=none", *words, "replay.batch_rows=32", *LITTLE)
    with process_of(run), pytest.raises(UsageError, match=sentence):
        SingleEnvironment(run)


def test_the_section_without_the_third_side_says_so(monkeypatch):
    monkeypatch.setattr(dqn, "find_spec", lambda name: None)
    monkeypatch.setattr(dqn, "run_of", lambda exp, *words: run_of(exp, *LITTLE, *words))
    monkeypatch.setattr(dqn, "solving", lambda pace, *, theirs: f"with it: {theirs}")
    missing, table, solved = dqn.dqn(ONCE)
    assert isinstance(missing, Missing)
    assert isinstance(table, Table)
    assert "not installed" in missing.markdown()
    assert solved == "with it: False"
    assert [row[:3] for row in table.rows] == [
        ["ours", "8", "2048 every 160 frames"],
        ["ours, one-step", "8", "128 every 10.0 frames"],
        ["single environment", "1", "128 every 10.0 frames"],
    ]
    assert {len(row) for row in table.rows} == {len(table.header)}
    assert [row[-1][:3] for row in table.rows] == ["–", "–", "≥ 5"]
