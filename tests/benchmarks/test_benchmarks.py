from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as benchmark
from benchmarks import acting, actors, compression, learning, measure, memories, replay
from benchmarks.measure import Pace, Ratio, Table, Times, interleave, number, target
from benchmarks.subjects import (
    PIXELS,
    STATE,
    fill,
    open_replay,
    random_rows,
    random_stream,
    run_of,
    set_apart,
)
from benchmarks.yardsticks.bare import BareLearner, refuse_other_maths
from benchmarks.yardsticks.bare_actor import BareActor
from modules import keys
from modules.envs.base import UNCHANGED, EnvContext
from modules.spec import UsageError

ONCE = Pace(rounds=1, section_s=0, quick=True)


def losses_are_equal(run):
    torch.manual_seed(0)
    ours = learning.learning(run)
    bare = BareLearner(run, ours.network, set_apart(ours))
    refuse_other_maths(ours.learner, bare, random_rows(run))  # raises if they differ, which a test below shows
    return True


@pytest.mark.parametrize("exp", [PIXELS, STATE])
@pytest.mark.parametrize("memory", ["lstm", "gru", "none"])
def test_the_bare_loop_computes_the_same(exp, memory):
    assert losses_are_equal(run_of(exp, f"network/memory={memory}", "device=cpu", "replay.batch_rows=8"))


@pytest.mark.parametrize("rescale_eps", [0, 1e-3])
@pytest.mark.parametrize("huber_delta", [0, 0.1])
@pytest.mark.parametrize("double", ["true", "false"])
def test_the_bare_loop_follows_the_settings_of_the_loss(rescale_eps, huber_delta, double):
    loss = [f"loss.rescale_eps={rescale_eps}", f"loss.huber_delta={huber_delta}", f"loss.double={double}"]
    assert losses_are_equal(run_of(STATE, "device=cpu", *loss))


@pytest.mark.parametrize("change", [{"n_step": 1}, {"gamma": 0.9}, {"double": False}, {"huber_delta": 0.01}])
def test_other_maths_is_refused(change):
    torch.manual_seed(0)
    run = run_of(STATE, "device=cpu", "loss.n_step=3")
    ours = learning.learning(run)
    other = BareLearner(replace(run, loss=replace(run.loss, **change)), ours.network, set_apart(ours))
    with pytest.raises(RuntimeError, match=r"our loss is .*, that of the bare loop"):
        refuse_other_maths(ours.learner, other, random_rows(run))


@pytest.mark.parametrize("change", [{"lr": 0.1}, {"max_grad_norm": 1e-3}, {"eps": 0.1}])
def test_another_optimiser_is_refused(change):
    torch.manual_seed(0)
    run = run_of(STATE, "device=cpu")
    ours = learning.learning(run)
    other = BareLearner(replace(run, optim=replace(run.optim, **change)), ours.network, set_apart(ours))
    with pytest.raises(RuntimeError, match=r"update [12]: our loss"):
        refuse_other_maths(ours.learner, other, random_rows(run))


def test_random_rows_have_every_case():
    rows = random_rows(run_of(STATE))
    padded = ~rows[keys.MASK].all(1)
    terminated = rows[keys.TERMINATED].any(1)
    assert padded.any()
    assert not padded.all()
    assert terminated.any()
    assert not terminated.all()
    assert not (rows[keys.TERMINATED] & ~rows[keys.MASK]).any()


@pytest.mark.parametrize("exp", [PIXELS, STATE])
def test_the_bare_actor_sees_what_ours_sees(exp):
    run = run_of(exp, "device=cpu", "collector.num_envs=3")
    env = run.env.build(EnvContext(3, run.network.transforms()))
    actor = BareActor(run, run.network.build(run.spaces), epsilon=0.0)
    for seed in range(2):
        base = env.base_env._env
        seen, _ = base.reset(seed=seed)
        state, _ = actor.envs.reset(seed=seed)
        mine = actor.look(torch.ones(3, dtype=torch.bool).numpy(), state, None)
        assert mine.dtype == run.spaces.observation_dtype.__str__().removeprefix("torch.")
        assert abs(mine.astype(float) - seen).max() <= (1 if exp == PIXELS else 1e-6)
    env.close()
    actor.close()


def test_the_bare_actor_acts_with_memory_and_forgets_at_episode_ends():
    torch.manual_seed(0)
    run = run_of(STATE, "device=cpu", "collector.num_envs=4", "collector.steps=1")
    actor = BareActor(run, run.network.build(run.spaces), epsilon=1.0)
    kept = actor.collect()
    while not kept[-1][-1].any():
        kept += actor.collect()
    ended = torch.from_numpy(kept[-1][-1])
    assert actor.frames == 4 * len(kept)
    assert actor.episodes == ended.sum()
    assert not ended.all()
    assert all((part[:, ~ended] != 0).any(-1).all() and not part[:, ended].any() for part in actor.state)
    actor.close()


def test_interleave_takes_turns_and_compares_neighbours(monkeypatch):
    clock, log = [0.0], []

    def side(name, seconds):
        def call():
            log.append(name)
            clock[0] += seconds

        return call

    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    times = interleave({"a": side("a", 0.25), "b": side("b", 0.5)}, Pace(rounds=3, section_s=6, quick=False))
    assert "".join(log) == "aaaa" + "bbbb" + 3 * ("aaaa" + "bb")
    assert times.median("a") == 0.25
    assert times.speed("a", "b") == Ratio(2, 2, 2)


def test_slow_sides_get_fewer_rounds(monkeypatch):
    clock, log = [0.0], []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def call():
        log.append(0)
        clock[0] += 9

    interleave({"slow": call}, Pace(rounds=9, section_s=40, quick=False))
    assert len(log) == 1 + 4
    interleave({"slow": call}, Pace(rounds=9, section_s=1, quick=True))
    assert len(log) == 5 + 1 + 1


def test_ratios_are_those_of_pairs_not_of_medians():
    times = Times({"ours": [1, 10, 100], "bare": [3, 20, 100]})  # the machine slowed down tenfold, twice
    assert times.speed("ours", "bare") == Ratio(2, 1, 3)
    assert target(times.speed("ours", "bare"), 2) == "≥ 2: met"
    assert target(times.speed("bare", "ours"), 0.9) == "≥ 0.9: missed"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (2, "2.00"), (99.94, "99.9"), (1234567, "1 234 567"), (-3.0, "-3.00"), (12.3, "12.3")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_tables_are_aligned_markdown():
    table = Table("T", ["name", "x"], [["a", "1.00"], ["longer", "10.0"]], notes=["Why."])
    assert table.markdown() == (
        "### T\n\n| name   |    x |\n| ------ | ---: |\n| a      | 1.00 |\n| longer | 10.0 |\n\n- Why.\n"
    )


def test_the_filled_replay_is_full():
    run = run_of(STATE, "replay.capacity=2000", "warmup_frames=0")
    with open_replay(run) as ring:
        fill(ring, run)
        assert len(ring) == run.replay.capacity_rows
        assert ring.sample()[keys.MASK].all()


def test_a_stream_has_whole_episodes_that_start_from_nothing():
    run = run_of(STATE)
    stream = random_stream(run, 2, 20, episode=10)
    assert stream["next", keys.DONE][0, :, 0].nonzero().flatten().tolist() == [9, 19]
    assert stream[keys.IS_INIT][0, :, 0].nonzero().flatten().tolist() == [0, 10]
    for key in run.network.memory.state():
        assert not stream[key][:, [0, 10]].any()
        assert stream[key][:, 9].any()


def small(*overrides):
    """Return a `run_of` that composes smaller runs."""
    room = ["warmup_frames=0", "replay.capacity=20_000"]
    return lambda exp, *more: run_of(exp, "device=cpu", "replay.batch_rows=2", *room, *overrides, *more)


SMOKE = {
    "learner": (learning, ["drqn_cartpole", "≥ 0.9"]),
    "acting": (acting, ["64 environments", "≥ 0.5", "≥ 0.8", "drawing", "Collector", "bare, all"]),
    "dqnloss": (learning, ["flat", "≥ 2", "rows"]),
    "memories": (memories, ["2 of 40 steps", "2 of 500 steps", "mingru against lstm"]),
    "replay": (replay, ["ours/copy", "10 000", "100 000"]),
    "compression": (compression, ["at random", "follows the ball", "µs per row", "time / memmap's"]),
    "actors": (actors, ["the actors", "highest so far", "first draws"]),
    "scaling": (learning, ["L, steps of a row", "B, rows of a batch", "H, hidden size", "512"]),
}


@pytest.mark.parametrize("name", SMOKE)
def test_each_section_measures(name, monkeypatch):
    module, expected = SMOKE[name]
    monkeypatch.setattr(module, "run_of", small("collector.steps=5"))
    if name == "scaling":
        monkeypatch.setattr(module, "PIXELS", STATE)
    if name == "compression":
        pytest.importorskip("ale_py", reason="the games of Atari are an extra")
        monkeypatch.setattr(module, "run_of", small("replay.capacity=240"))
    if name == "actors":
        pytest.importorskip("ale_py", reason="the games of Atari are an extra")
        monkeypatch.setattr(actors, "ROWS", 60)
        monkeypatch.setattr(actors, "run_of", lambda exp, *words: run_of(exp, *words, "replay.batch_rows=16"))
    text = "".join(item.markdown() for item in benchmark.SECTIONS[name](ONCE))
    assert all(part in text for part in expected)
    assert "nan" not in text


def test_the_tutorial_is_compared_in_steps(monkeypatch):
    monkeypatch.setattr(learning, "TUTORIAL", STATE)
    monkeypatch.setattr(learning, "run_of", lambda exp: small(f"replay.length={20 if exp == PIXELS else 10}")(exp))
    monkeypatch.setattr(learning, "interleave", lambda sides, pace: Times({name: [0.5] for name in sides}))
    (table,) = learning.tutorial(ONCE)
    assert [row[-1] for row in table.rows] == ["80.0", "40.0"]
    assert "2.00 (2.00–2.00)" in table.notes[0]


def test_a_missing_tutorial_is_skipped(monkeypatch):
    monkeypatch.setattr(learning, "TUTORIAL", "drqn_nowhere")
    (item,) = learning.tutorial(ONCE)
    assert "Skipped: there is no conf/exp/drqn_nowhere.yaml." in item.markdown()


def test_what_the_bare_loops_do_not_know_is_refused():
    run = run_of(STATE)
    with pytest.raises(UsageError, match="no bare acting"):
        BareActor(
            replace(run, env=type("Other", (type(run.env).__mro__[1],), {})(**UNCHANGED)),
            torch.nn.Linear(1, 1),
            epsilon=0,
        )
