import sys
import time
from contextlib import closing
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from benchmarks import dqn, dqn_solving
from benchmarks.dqn_solving import Outcome, Referee, row, solve_ours, solve_single
from benchmarks.measure import Pace, Table
from benchmarks.subjects import run_of
from benchmarks.yardsticks import single
from pipelines.agent.evaluator import Evaluator
from pipelines.config.schema import RunConfig

ONCE = Pace(rounds=1, section_s=0, quick=True)
LITTLE = (
    "collector.num_envs=8",
    "collector.steps=20",  # batches of 160 frames
    "total_frames=800",
    "warmup_frames=100",
    "eval_every=400",
    "log_every=400",
    "eval_episodes=2",
    "threads=1",
)
EASY = "stop_at_score=5"  # nobody falls before step 8


@pytest.fixture
def later(monkeypatch):
    """Return a call that lets seconds pass at once."""
    passed, now = [0.0], time.perf_counter

    def wait(seconds):
        passed[0] += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now() + passed[0])
    return wait


@pytest.fixture
def theirs(monkeypatch):
    """Stand in for Stable-Baselines3, and return what was asked of it."""
    made = {}

    class DQN:
        num_timesteps = 0

        def __init__(self, policy, env, **settings):
            made.update(settings, policy=policy, id=env.spec.id)

        def learn(self, frames, *, callback=None, reset_num_timesteps=True):
            made.update(frames=frames, reset=reset_num_timesteps)
            while self.num_timesteps < frames:
                self.num_timesteps += 1
                if callback and not callback({}, {}):
                    break

        def predict(self, sight, *, deterministic):
            made.update(deterministic=deterministic)
            return np.int64(0), None

    package = ModuleType("stable_baselines3")
    package.DQN = DQN  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stable_baselines3", package)
    return made


def test_our_seconds_do_not_count_evaluations(later, monkeypatch):
    evaluate = Evaluator.evaluate

    def slow(self, *things, **settings):
        later(1000)
        return evaluate(self, *things, **settings)

    monkeypatch.setattr(Evaluator, "evaluate", slow)
    outcome = solve_ours(LITTLE)
    assert (outcome.frames, outcome.solved) == (800, False)
    assert 0 < outcome.seconds < 500


def test_our_seconds_are_those_of_every_interval():
    timing = {
        "frames": np.array([100.0, 300.0]),
        "perf/frames_per_s": np.array([50.0, 20.0]),
        "perf/eval_share": np.array([0.5, 0.1]),
    }
    assert dqn_solving.training_seconds(timing) == pytest.approx(2 * 0.5 + 10 * 0.9)


def test_their_seconds_do_not_count_evaluations(later):
    run = run_of(single.EXP, *LITTLE)

    def best(sight):
        later(100)
        return 0

    with closing(Referee(run, best)) as referee:
        later(100)  # building
        referee.start()
        later(7)
        assert referee.goes_on(399)
        later(1)
        assert referee.goes_on(400)
        assert referee.outcome.seconds == pytest.approx(8, abs=0.9)
        later(3)
        assert not referee.goes_on(800)
        assert referee.outcome.seconds == pytest.approx(11, abs=0.9)
        assert not referee.outcome.solved
        assert 8 <= referee.greedy_return(0) <= 11  # who always pushes to the left falls


def test_a_side_stops_at_the_score(theirs):
    run = run_of(single.EXP, *single.ONE_STEP, *LITTLE, EASY)
    ours = solve_ours((*LITTLE, EASY))
    assert (ours.frames, ours.solved) == (480, True)  # the batch of frame 400
    for solve in (solve_single, dqn_solving.solve_stable_baselines):
        outcome = solve(run)
        assert (outcome.frames, outcome.solved) == (400, True)
        assert 0 < outcome.seconds < 60


def test_a_side_that_does_not_get_there_stops_at_the_budget(theirs):
    run = run_of(single.EXP, *single.ONE_STEP, *LITTLE, "total_frames=500", "stop_at_score=501")
    for solve in (solve_single, dqn_solving.solve_stable_baselines):
        outcome = solve(run)
        assert (outcome.frames, outcome.solved) == (500, False)


def outcomes(*, ours=True, theirs=True):
    return {
        "ours": [Outcome(1280, 2.0, solved=True), Outcome(2560, 4.0, solved=ours)],
        "single environment": [Outcome(1000, 8.0, solved=True), Outcome(3000, 32.0, solved=theirs)],
    }


def test_a_side_that_does_not_get_there_is_shown_as_a_bound():
    name = "single environment"
    assert row(name, outcomes()) == [name, "1 000, 3 000", "8.00, 32.0", "6.00 (4.00–8.00)", "≥ 5: met"]
    bound = outcomes(theirs=False)
    assert row(name, bound)[2:] == ["8.00, > 32.0", "≥ 6.00 (4.00–8.00)", "≥ 5: met"]
    bound[name][0] = Outcome(1000, 2.0, solved=True)
    assert row(name, bound)[3:] == ["≥ 4.50 (1.00–8.00)", "≥ 5: open"]
    assert row("ours", outcomes(ours=False))[2:] == ["2.00, > 4.00", "–", "–"]
    assert row(name, outcomes(ours=False))[3:] == ["–", "–"]


def test_the_third_side_gets_our_settings_and_schedules(theirs):
    run = run_of(single.EXP, *single.ONE_STEP, *single.SB3, "seed=3", EASY, "eval_episodes=2")
    outcome = dqn_solving.solve_stable_baselines(run)
    assert outcome.frames == 5_000
    assert (theirs["frames"], theirs["reset"], theirs["deterministic"]) == (200_000, True, True)  # in one go
    fraction, start, end = (theirs[f"exploration_{name}"] for name in ("fraction", "initial_eps", "final_eps"))
    assert (fraction * theirs["frames"], start, end) == (15_000, 1.0, 0.05)
    assert (theirs["learning_starts"], theirs["learning_rate"], theirs["gamma"]) == (3_000, 1e-3, 0.99)
    assert (theirs["batch_size"], theirs["train_freq"], theirs["target_update_interval"]) == (128, 10, 455)
    assert (theirs["buffer_size"], theirs["seed"], theirs["device"]) == (200_000, 3, torch.device("cpu"))
    assert (theirs["policy"], theirs["id"]) == ("MlpPolicy", "CartPole-v1")
    assert theirs["policy_kwargs"] == {"net_arch": [120, 84]}
    single.stable_baselines(run_of(single.EXP, "network.head.hidden=[7]"))
    assert theirs["policy_kwargs"] == {"net_arch": [120, 84, 7]}


def test_the_table_has_all_sides_and_seeds(theirs, monkeypatch):
    monkeypatch.setattr(dqn, "speed", lambda pace, *, theirs: f"with it: {theirs}")
    monkeypatch.setattr(dqn, "find_spec", lambda name: name == "stable_baselines3")
    monkeypatch.setattr(dqn_solving, "QUICK", LITTLE)
    speed, table = dqn.dqn(ONCE)
    assert speed == "with it: True"
    assert isinstance(table, Table)
    assert [cells[:2] for cells in table.rows] == [
        ["ours", "800"],
        ["ours, one-step", "800"],
        ["single environment", "800"],
        ["single environment, CleanRL's loss", "800"],
        ["Stable-Baselines3", "800"],
    ]
    assert all(cells[2].startswith("> ") for cells in table.rows)
    assert table.notes[0].startswith("Seeds: 0. Until 2 greedy episodes have a mean return of 475, at most 800 frames")


@pytest.mark.parametrize(("quick", "seeds", "frames"), [(True, [0], 2_000), (False, [0, 1, 2], 200_000)])
def test_sides_take_turns_within_a_seed(quick, seeds, frames, monkeypatch):
    turns = []

    def side(name):
        def solve(given):
            run = given if isinstance(given, RunConfig) else run_of(single.EXP, *given)
            turns.append((name, run.seed, single.steps_per_update(run), run.optim.lr, run.target.tau))
            assert run.total_frames == frames
            return Outcome(1, 1.0, solved=True)

        return solve

    for name in ("ours", "single", "stable_baselines"):
        monkeypatch.setattr(dqn_solving, f"solve_{name}", side(name))
    table = dqn_solving.solving(replace(ONCE, quick=quick), theirs=True)
    assert turns == [
        (name, seed, *settings)
        for seed in seeds
        for name, *settings in (
            ("ours", 2048, 1e-2, 0.3),
            ("ours", 128, 2e-3, 0.044),
            ("single", 128, 2e-3, 0.044),
            ("single", 128, 1e-3, 1),
            ("stable_baselines", 128, 1e-3, 0.044),
        )
    ]
    assert [cells[-1] for cells in table.rows] == ["–", "–", *["≥ 5: missed"] * 3]
