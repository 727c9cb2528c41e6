"""Evaluations of other policies than the greedy one: sampled as training explored, and random."""

import json
import os
import signal

import gymnasium
import pytest
import torch

from modules import keys
from pipelines.agent.trained_agent import load_agent
from pipelines.evaluate import main
from tests.pipelines.saved_runs import MASKED, saved_run

ACROBOT = ("env=gym", "env.id=Acrobot-v1")


class Blind(gymnasium.Env):
    """Pays the same for each of three steps, and draws nothing; only one lives at a time."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)
    alive = 0

    def __init__(self, reward):
        if Blind.alive:
            raise OSError(98, "Address already in use")
        self.reward = float(reward)
        Blind.alive += 1

    def reset(self, *, seed=None, options=None):
        self.left = 3
        return self.observation_space.low, {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.low, self.reward, self.left == 0, False, {}

    def close(self):
        Blind.alive -= 1


gymnasium.register("Blind-v0", Blind)
BLIND = ("env=gym", "env.id=Blind-v0", "envs=1")


def evaluated(run_dir, *words):
    assert main([f"run={run_dir}", "episodes=4", *words]) == 0
    return {path.name: json.loads(path.read_text()) for path in run_dir.glob("evaluation*.json")}


def chosen(run_dir, policy, num_envs):
    """Actions that a policy takes at one and the same observation of every environment, 4 000 in all."""
    agent = load_agent(run_dir, which="best", arm=None, seed=0)
    network, acting = agent.policy.network, agent.acting(policy, num_envs)
    env = agent.agent_env(num_envs).build(num_envs)
    td = env.reset()
    td[keys.OBSERVATION] = td[keys.OBSERVATION][:1].expand_as(td[keys.OBSERVATION]).clone()
    with torch.no_grad():
        actions = torch.stack([acting(td.clone())[keys.ACTION] for _ in range(4_000 // num_envs)])
        state = tuple(td[key] for key in network.states)
        values = network.unroll({key: td[key].unsqueeze(1) for key in network.reads}, state)[0][keys.ACTION_VALUE][0, 0]
    env.close()
    return actions, values


def test_a_sampled_policy_draws_from_the_softmax_at_the_checkpoints_temperature(tmp_path):
    words = ("exploration=boltzmann", "exploration.start=3", "exploration.end=1", "exploration.anneal_frames=2_000")
    saved_run(tmp_path, MASKED, *words)  # at frame 1 000: half-way
    actions, values = chosen(tmp_path, "sampled", 1)
    expected = (values / 2).softmax(-1)
    assert 0.05 < expected[0] < 0.95
    assert actions.float().mean().item() == pytest.approx(expected[1].item(), abs=0.03)


@pytest.mark.parametrize(("envs", "places"), [(4, [0, 1 / 3, 2 / 3, 1]), (2, [1 / 3, 1]), (1, [2 / 3])])
def test_a_sampled_policy_has_epsilons_of_training_however_many_environments_there_are(envs, places, tmp_path):
    ladder = ("exploration.base=0.8", "exploration.alpha=3", "exploration.anneal_frames=0", "collector.num_envs=4")
    saved_run(tmp_path, "algo=r2d2", "env=cartpole_masked", "network/torso=mlp", *ladder)
    actions, values = chosen(tmp_path, "sampled", envs)
    others = (actions != values.argmax()).float().mean(0)
    assert others.tolist() == pytest.approx([0.8 ** (1 + 3 * place) / 2 for place in places], abs=0.04)


def test_random_actions_do_not_look(tmp_path):
    saved_run(tmp_path, MASKED)
    actions, _ = chosen(tmp_path, "random", 4)
    assert actions.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_each_policy_has_a_file_of_its_own_and_a_film(tmp_path, capsys):
    saved_run(tmp_path, MASKED)
    found = evaluated(tmp_path)
    greedy = found["evaluation.json"]
    assert greedy["policy"] == "greedy"
    found = evaluated(tmp_path, "policy=random", "video=true", "seed=1")
    assert found["evaluation.json"] == greedy
    assert [found["evaluation_random.json"][name] for name in ("policy", "episodes", "seed")] == ["random", 4, 1]
    assert found["evaluation_random.json"]["returns"] != greedy["returns"]
    assert (tmp_path / "videos" / "evaluation_best_random.mp4").stat().st_size > 1000
    assert evaluated(tmp_path, "policy=sampled")["evaluation_sampled.json"]["policy"] == "sampled"
    assert "policy" in capsys.readouterr().out


def test_random_play_needs_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["policy=random", *ACROBOT, "env.kwargs.render_mode=null", "video=false", "episodes=2", "seed=3"]) == 0
    first = capsys.readouterr().out
    assert "mean         -500.00" in first  # nobody swings up by chance
    assert "random" in first
    assert not list(tmp_path.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["policy=random", "env=gym", "env.id=NoSuch-v0"])
    assert ended.value.code == 2
    assert "env.id" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("env.window_length=2",)])
def test_random_play_needs_no_renderer_and_one_environment_at_a_time(more, capsys):
    assert main(["policy=random", *BLIND, "+env.kwargs.reward=0.5", "episodes=2", *more]) == 0
    assert "mean         1.50" in capsys.readouterr().out
    assert Blind.alive == 0


def test_random_play_explains_itself(capsys):
    for word in ("--help", "-h"):
        with pytest.raises(SystemExit) as ended:
            main(["policy=random", word])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith("python -m pipelines.evaluate run=DIR")


def test_random_play_ends_at_a_reward_that_is_no_number(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["policy=random", *BLIND, "+env.kwargs.reward=nan"])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert said.err == "error: env.id: Blind-v0 gave nan as its reward (environment 0 of 1)\n"
    assert Blind.alive == 0


@pytest.mark.parametrize(
    ("place", "words", "missing"),
    [
        ("pipelines.agent.held_out.run_episodes", (), "this evaluation"),
        ("pipelines.agent.step_table.StepTable.write", ("steps=csv",), "episodes.csv"),
        ("pipelines.agent.film.run_episodes", ("steps=csv", "video=true"), "the film"),
        ("pipelines.evaluate.table", (), "the result on standard output"),
    ],
)
def test_a_signal_is_told_with_what_it_kept_from_being_written(place, words, missing, tmp_path, monkeypatch, capsys):
    saved_run(tmp_path, MASKED)
    monkeypatch.setattr(place, lambda *args, **more: os.kill(os.getpid(), signal.SIGTERM))
    assert main([f"run={tmp_path}", "episodes=1", *words]) == 128 + signal.SIGTERM
    said = capsys.readouterr()
    assert said.err == f"stopped by SIGTERM: what was evaluated before is written, {missing} is not\n"
    assert (tmp_path / "evaluation.json").exists() == (missing != "this evaluation")
    assert ("mean " in said.out) == (missing in ("episodes.csv", "the film"))
    assert (tmp_path / "episodes.csv").exists() == (missing == "the film")
    assert not list((tmp_path / "videos").glob("*"))


def test_the_report_shows_random_play(make_run, report):
    for seed in range(2):
        run = make_run(f"r{seed}", 40.0 + seed, seed=seed)
        (run / "evaluation_random.json").write_text(json.dumps({"mean": 22.5, "policy": "random"}))
    text = report(run.parent)
    assert "random play" in text
    assert "22.50" in text
