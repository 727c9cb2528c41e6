"""One seed decides everything: every instance's first reset carries one, and each reset begins an episode."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from modules.seeding import seed_for
from pipelines import evaluate, play
from pipelines.api import Result, compose, load, train
from pipelines.api import evaluate as evaluated
from tests import cases
from tests.pipelines.ledger import LENGTH, Reset, begun_with, resets

N, SAVE_EVERY, FRAMES = 2, 80, 200  # environments; frames between saves; frames
EPISODES = 3  # of an evaluation
ENV = ("env=gym", "env.id=tests.pipelines.ledger:Ledger-v0", "network/torso=mlp")
SMALL = ("network.torso.hidden=[]", "network.torso.out_features=8", "+debug=smoke", f"save_every={SAVE_EVERY}")
EVALUATIONS = ("eval_every=100", f"eval_episodes={EPISODES}", "eval_envs=1")


def trained(place: Path, *words: str, name: str = "run") -> Result:
    """Train on the ledger, which then lies beside the run."""
    log = f"+env.kwargs.log={place / name}.log"
    settings = compose("algo=dqn", *ENV, log, *SMALL, *EVALUATIONS, "logger=csv", *words)
    return train(settings, run_dir=place / name, bar=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a run, filmed at its end."""
    place = tmp_path_factory.mktemp("resets")
    trained(place, f"total_frames={FRAMES}", "video=true")
    return place


@pytest.fixture
def later(place) -> Path:
    """The ledger, from now on."""
    log = place / "run.log"
    log.write_text("")
    return log


def assert_one_reset_an_episode(found: Sequence[Reset], seeds: Sequence[int]) -> None:
    """The resets with a seed are those of `seeds`, in their order, and all others follow a whole episode."""
    assert [reset.seed for reset in found if reset.seed is not None] == list(seeds)
    assert found[0] == Reset(seeds[0], 0)
    assert {reset.steps_before for reset in found if reset.seed is None} <= {LENGTH}


def assert_training_is_seeded(log: Path, frames: int) -> None:
    """Each save ends the running episodes, and gives the next ones a new seed, if anything follows."""
    stretches = [min(SAVE_EVERY, frames - start) // N for start in range(0, frames, SAVE_EVERY)]  # steps
    seeds = [seed_for(0, "env", restart) for restart in range(len(stretches))]
    for i, found in enumerate(begun_with([seeds[0] + i for i in range(N)], log)):
        assert_one_reset_an_episode(found, [seed + i for seed in seeds])
        assert len(found) == sum(1 + steps // LENGTH for steps in stretches)
        cut = [reset.steps_before for reset in found[1:] if reset.seed is not None]
        assert cut == [steps % LENGTH for steps in stretches[:-1]]


def test_training_has_one_reset_an_episode_and_a_new_seed_after_each_save(place):
    assert_training_is_seeded(place / "run.log", FRAMES)


def test_evaluations_in_training_have_as_many_resets_as_episodes_and_miss_no_sample(place):
    seeds = [seed_for(0, "evaluation", frames) for frames in (100, 200)]
    (found,) = begun_with(seeds[:1], place / "run.log")
    assert_one_reset_an_episode([found[i] for i in (0, 1, 2)], seeds[:1])
    assert [reset.seed for reset in found] == [seeds[0], None, None, seeds[1], None, None]
    means = Result(place / "run").metrics["eval/return_mean"]
    assert means[~np.isnan(means)].tolist() == [2 * LENGTH, 5 * LENGTH]
    assert Result(place / "run").summary["eval_envs"] == 1


def test_a_film_has_one_reset_an_episode(place):
    found = next(found for found in resets(place / "run.log") if found[0].seed == seed_for(0, "video", 0))
    episodes = -(-200 // (LENGTH + 1))  # until there are 200 frames
    assert found == [Reset(seed_for(0, "video", i), LENGTH if i else 0) for i in range(episodes)]


def test_nothing_else_is_reset_but_to_be_looked_at(place):
    """Instances that are made to look something up are closed after one seeded reset at most."""
    others = [found for found in resets(place / "run.log") if found[0].seed < 100]  # the check counts them through
    assert all(len(found) == 1 for found in others)
    assert len(resets(place / "run.log")) - len(others) == N + 1 + 1


@pytest.mark.parametrize(("envs", "samples"), [(1, [1, 2, 3, 4, 5]), (2, [1, 2, 3, 1, 2]), (9, [1] * 5)])
def test_an_evaluation_sees_the_samples_from_the_first_on(envs, samples, place, later):
    found = evaluated(place / "run", episodes=5, envs=envs)
    assert found["returns"] == [LENGTH * sample for sample in samples]
    assert found["envs"] == min(envs, 5)
    seed = seed_for(0, "held-out evaluation")
    for i, of_one in enumerate(begun_with([seed + i for i in range(found["envs"])], later)):
        assert_one_reset_an_episode(of_one, [seed + i])
        assert len(of_one) == max(samples)  # those that are through continue beside the others


def test_the_command_says_how_many_ran_side_by_side(place, later, capsys):
    assert evaluate.main([f"run={place / 'run'}", "episodes=3", "envs=2"]) == 0
    assert "envs         2\n" in capsys.readouterr().out


def test_a_loaded_policy_resets_nothing(place, later):
    load(place / "run")
    assert resets(later) == []


def test_an_episode_as_text_has_one_reset(place, later, capsys):
    assert evaluate.main([f"run={place / 'run'}", "episodes=1", "view=text"]) == 0
    assert [Reset(seed_for(0, "video"), 0)] in resets(later)
    assert "sample 1\naction" in capsys.readouterr().out


def test_play_has_one_reset_an_episode(place, later, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("0" * LENGTH + " " + "1" * LENGTH + " q"))
    assert play.main([*ENV, f"+env.kwargs.log={later}", "video=false"]) == 0
    (found,) = begun_with([seed_for(0, "play")], later)
    assert found == [Reset(seed_for(0, "play"), 0), Reset(None, LENGTH), Reset(None, LENGTH)]
    assert "sample 3" in capsys.readouterr().out


@pytest.mark.parametrize("collector", ["sync", cases.later("multi_async")])
def test_what_is_drawn_at_the_first_reset_only_comes_from_the_seed(collector, tmp_path):
    words = [f"total_frames={2 * SAVE_EVERY}", "eval_every=0", f"collector={collector}", f"collector.num_envs={N}"]
    words += ["collector.steps=10", "video=false", "env.wrappers=[tests.pipelines.ledger:DrawsOnce]"]
    words += ["collector.processes=1"] if collector == "multi_async" else []
    metrics = [(trained(tmp_path, *words, name=name).run_dir / "metrics.csv").read_bytes() for name in ("one", "two")]
    assert metrics[0] == metrics[1]
    if collector == "sync":
        assert_training_is_seeded(tmp_path / "one.log", 2 * SAVE_EVERY)
        return
    seeds = [seed_for(seed_for(0, "env", restart), "worker environments", 0) for restart in range(2)]
    for i, found in enumerate(begun_with([seeds[0] + i for i in range(N)], tmp_path / "one.log")):
        assert_one_reset_an_episode(found, [seed + i for seed in seeds])
