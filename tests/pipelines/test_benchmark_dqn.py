import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv

from modules import keys
from modules.spec import UsageError
from pipelines.benchmarks import dqn
from pipelines.benchmarks.acting import built
from pipelines.benchmarks.bare import refuse_other_maths
from pipelines.benchmarks.learning import learning
from pipelines.benchmarks.measure import Missing, Pace, Table
from pipelines.benchmarks.subjects import process_of, random_rows, run_of

ONCE = Pace(rounds=1, section_s=0, quick=True)
SMALL = ("warmup_frames=0", "collector.num_envs=8", "replay.capacity=2000", "replay.batch_rows=32")


@pytest.fixture
def run():
    return run_of(dqn.EXP, *SMALL)


def test_both_sides_learn_as_many_steps_from_as_many_frames(run):
    with process_of(run), built(run) as parts:
        single = dqn.SingleEnvironment(run, parts)
        ours, frames = dqn.training(parts), run.collector.frames_per_batch
        for _ in range(5):
            ours()
            single.train()
        due = 5 * frames * run.replay.ratio
        assert single.frames == 5 * frames
        assert abs(parts.learner.updates * run.replay.batch_rows - due) <= run.replay.batch_rows
        # None before there are BATCH frames; what is owed until then is learned later.
        assert abs(single.learner.updates * dqn.BATCH + single.owed * dqn.BATCH - due) < 1
        assert single.owed < 1
        single.close()


def test_the_single_environment_learns_from_what_happened(run):
    with process_of(run), built(run) as parts:
        single = dqn.SingleEnvironment(run, parts)
        single.epsilon = 0.5
        for _ in range(300):
            single.step()
        rows, env = single.batch(), CartPoleEnv()
        for sight, action, ended in zip(rows[keys.OBSERVATION], rows[keys.ACTION], rows[keys.TERMINATED], strict=True):
            env.state = sight[0].double().numpy()
            env.steps_beyond_terminated = None
            after, reward, terminated, _, _ = env.step(int(action))
            np.testing.assert_allclose(after, sight[1], atol=1e-5)
            assert (reward, terminated) == (1, bool(ended))
        assert rows[keys.TERMINATED].any()
        assert rows[keys.MASK].all()
        assert (rows[keys.REWARD] == 1).all()
        single.close()


def test_its_maths_is_ours(run):
    with process_of(run), built(run) as parts:
        single = dqn.SingleEnvironment(run, parts)
        ours = learning(run)
        single.learner.online.take_weights(ours.network)
        single.learner.target.take_weights(ours.network)
        refuse_other_maths(ours.learner, single.learner, random_rows(run))
        single.close()


@pytest.mark.parametrize("words", [("loss.n_step=3",), ("env=shower", "loss=dqn")])
def test_what_it_does_not_know_is_refused(words):
    run = run_of("drqn_cartpole_masked", "network/memory=none", *words, *SMALL)
    with process_of(run), built(run) as parts, pytest.raises(UsageError, match="one-step targets"):
        dqn.SingleEnvironment(run, parts)


def test_the_third_side_gets_our_sizes_where_it_is_installed(run, monkeypatch):
    made = {}

    class DQN:
        def __init__(self, policy, env, **settings):
            made.update(settings, policy=policy, id=env.spec.id)

        def learn(self, frames, *, reset_num_timesteps):
            made.update(frames=frames, reset=reset_num_timesteps)

    theirs = ModuleType("stable_baselines3")
    theirs.DQN = DQN  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stable_baselines3", theirs)
    wider = run_of(dqn.EXP, "network.head.hidden=[7]", *SMALL)
    dqn.stable_baselines(wider)()
    assert made["policy_kwargs"] == {"net_arch": [120, 84, 7]}
    dqn.stable_baselines(run)()
    assert (made["policy"], made["id"], made["reset"]) == ("MlpPolicy", "CartPole-v1", False)
    assert made["frames"] == run.collector.frames_per_batch
    assert (made["batch_size"], made["train_freq"], made["buffer_size"]) == (128, 10, 2_000)
    assert made["policy_kwargs"] == {"net_arch": [120, 84]}
    assert made["device"] == torch.device("cpu")


def test_without_it_the_section_says_so(monkeypatch):
    monkeypatch.setattr(dqn, "find_spec", lambda name: None)
    monkeypatch.setattr(dqn, "run_of", lambda exp, *words: run_of(exp, *SMALL, *words))
    missing, table = dqn.dqn(ONCE)
    assert isinstance(missing, Missing)
    assert isinstance(table, Table)
    assert "not installed" in missing.markdown()
    assert [row[0] for row in table.rows] == ["ours", "ours, larger batches", "single environment"]
    assert [row[2].split()[0] for row in table.rows] == ["128", "512", "128"]
    assert {len(row) for row in table.rows} == {len(table.header)}
