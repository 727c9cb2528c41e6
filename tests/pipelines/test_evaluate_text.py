import io
import json

import pytest
import torch
from torchrl.envs.utils import ExplorationType, set_exploration_type

from modules.envs.base import EnvContext, EnvSpec
from modules.envs.worlds.tour import TourSpec
from modules.evaluation import run_episodes
from modules.seeding import seed_for
from pipelines import evaluate
from pipelines.agent.held_out import DEFAULTS, Evaluation
from pipelines.console.terminal import Stage
from pipelines.evaluate import main
from tests.pipelines.launch import run

TINY = ("+exp=tour", "+debug=smoke", "replay.length=0", "total_frames=100", "video=false", "hydra.run.dir=run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("text")
    ended = run("pipelines.train", *TINY, "env.task=ruin_2swamp", cwd=place)
    assert ended.code == 0, ended.err
    return place / "run"


@pytest.fixture
def restless(trained):
    """Sharpen the saved weights, so that the policy does not always turn left, and its memory matters."""
    path = trained / "checkpoints" / "best.pt"
    before = path.read_bytes()
    state = torch.load(path)
    state["network"] = {name: 5 * value for name, value in state["network"].items()}
    torch.save(state, path)
    yield trained
    path.write_bytes(before)


def policy_of(run_dir):
    agent = evaluate.load_evaluated(Evaluation(**(DEFAULTS | {"run": run_dir})))
    return agent.run, agent.policy


def shown(capsys, *words):
    assert main(list(words)) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def test_one_greedy_episode_is_shown_below_the_table(restless, capsys):
    plain = shown(capsys, f"run={restless}", "episodes=3", "seed=2")
    text = shown(capsys, f"run={restless}", "episodes=3", "seed=2", "view=text")
    assert text.startswith(plain)
    frames = text.removeprefix(plain).split("\n\n")[:-1]

    of_run, policy = policy_of(restless)
    env = of_run.env.build(EnvContext(1, of_run.network.transforms()))
    maps = []
    episodes = run_episodes(
        env, policy, episodes=1, seed=seed_for(2, "video"), look=lambda e, _: maps.append(of_run.env.text(e))
    )
    assert len(frames) == episodes.lengths[0] + 1
    assert [frame.split("\naction")[0] for frame in frames] == maps
    assert f"after {episodes.lengths[0]} steps, return {episodes.returns[0]:.4g}" in frames[-1]


def test_a_look_at_one_episode_does_not_replace_the_result_of_many(trained, capsys):
    shown(capsys, f"run={trained}", "episodes=3")
    written = (trained / "evaluation.json").read_bytes()
    shown(capsys, f"run={trained}", "episodes=1", "view=text")
    assert (trained / "evaluation.json").read_bytes() == written
    shown(capsys, f"run={trained}", "episodes=1")
    assert json.loads((trained / "evaluation.json").read_text())["episodes"] == 1


def test_the_memory_is_carried_from_step_to_step(restless):
    of_run, policy = policy_of(restless)
    stage = Stage(of_run.env, of_run.network.transforms(), seed=0)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        states = []
        for _ in range(3):
            stage.act(policy(stage.now))
            states.append(stage.now["recurrent_state"])
    assert all(state.abs().sum() > 0 for state in states)
    assert not torch.equal(states[0], states[1])


def test_frames_are_redrawn_slowly_on_a_terminal(trained, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream, slept = Terminal(), []
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("time.sleep", slept.append)
    assert main([f"run={trained}", "episodes=1", "view=text", "delay_s=0.5"]) == 0
    assert set(slept) == {0.5}
    assert stream.getvalue().count("\x1b[J") == len(slept)
    assert stream.getvalue().index("length_mean") < stream.getvalue().index("\x1b[")  # the table stays


def test_nothing_waits_where_there_is_no_terminal(trained, monkeypatch, capsys):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert "\x1b[" not in shown(capsys, f"run={trained}", "episodes=1", "view=text", "delay_s=60")
    assert sum(slept) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("view=text",), "this environment has no text view"),
        (("view=txt",), "view: it should be 'none' or 'text', not 'txt'"),
        (("delay_s=-1",), "delay_s: it should be greater than or equal to 0"),
        (("episodes=1000001",), "episodes: it should be less than or equal to 1000000"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_evaluated(trained, words, sentence, monkeypatch, capsys):
    monkeypatch.setattr(TourSpec, "text", EnvSpec.text)
    monkeypatch.setattr(evaluate, "run_evaluation", None)
    with pytest.raises(SystemExit) as ended:
        main([f"run={trained}", *words])
    output = capsys.readouterr()
    assert (ended.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert sentence in output.err
