"""Films show whole episodes, at a pace that can be followed."""

import cv2
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import register

from modules.evaluation import run_episodes
from modules.seeding import seed_for
from pipelines import evaluate
from pipelines.agent.film import FRAMES, film
from pipelines.agent.held_out import DEFAULTS, Evaluation
from pipelines.api import compose, train
from tests.modules.builders import gym_spec
from tests.pipelines.launch import run
from tests.pipelines.saved_runs import MASKED, saved_run

TINY = ("+exp=tour", "+debug=smoke", "env.task=tmaze_either", "total_frames=100", "video=true", "hydra.run.dir=run")
LONGEST = 6  # frames of an episode: the start and five steps


class Few(CartPoleEnv):
    """Of which no more than `most` live at a time; can be drawn, and written as text."""

    metadata = CartPoleEnv.metadata | {"render_modes": ["rgb_array", "ansi"]}
    most, alive = 0, 0

    def __init__(self, render_mode=None):
        if Few.alive == Few.most:
            raise ConnectionError("no more licences")
        Few.alive += 1
        super().__init__(render_mode=None if render_mode == "ansi" else render_mode)
        self.written = render_mode == "ansi"

    def render(self):
        return "a pole" if self.written else super().render()

    def close(self):
        super().close()
        Few.alive -= 1


register("Few-v0", Few, max_episode_steps=20)
FEW = (MASKED, "+debug=smoke", "threads=1", "device=cpu", "env.id=Few-v0", "env.keep=[0,2]", "collector.num_envs=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("film")
    ended = run("pipelines.train", *TINY, cwd=place)
    assert ended.code == 0, ended.err
    return place / "run"


def filmed(trained, path):
    """Film with the saved weights; return how many frames there are."""
    agent = evaluate.load_evaluated(Evaluation(**(DEFAULTS | {"run": trained})))
    film(agent.policy, agent.agent_env(1), seed=3, path=path)
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)


def test_short_episodes_follow_each_other_slowly(trained):
    (path,) = (trained / "videos").glob("*.mp4")
    shown = cv2.VideoCapture(str(path))
    assert shown.get(cv2.CAP_PROP_FPS) == 5
    assert FRAMES <= shown.get(cv2.CAP_PROP_FRAME_COUNT) < FRAMES + LONGEST


def test_every_episode_is_whole_and_another_one(trained, monkeypatch, tmp_path):
    played = []

    def seen(env, policy, *, seed, **words):
        played.append((seed, run_episodes(env, policy, seed=seed, **words).lengths))

    monkeypatch.setattr("pipelines.agent.film.run_episodes", seen)
    assert filmed(trained, tmp_path / "film.mp4") == sum(length + 1 for _, (length,) in played)
    assert played[0][0] == seed_for(3, "video")  # the one that view=text shows
    assert len({seed for seed, _ in played}) == len(played) >= FRAMES / LONGEST


def test_one_long_episode_is_enough(trained, monkeypatch, tmp_path):
    monkeypatch.setattr("pipelines.agent.film.FRAMES", 2)
    assert 2 <= filmed(trained, tmp_path / "film.mp4") <= LONGEST


@pytest.mark.parametrize("window", [1, 3])
def test_a_run_with_a_film_has_no_more_environments_than_it_counts(window, monkeypatch, tmp_path):
    """Two for training, two for evaluations, one for the film."""
    monkeypatch.setattr(Few, "most", 5)
    words = ("total_frames=60", "eval_episodes=2", "video=true", f"env.window_length={window}")
    result = train(compose(*FEW, *words), run_dir=tmp_path / "run")
    names = sorted(path.name for path in (result.run_dir / "videos").iterdir())
    assert names == ["frames_000000000060.gif", "frames_000000000060.mp4"]
    assert Few.alive == 0


def test_a_run_is_evaluated_filmed_and_shown_where_only_one_environment_can_live(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Few, "most", 1)
    saved_run(tmp_path, *FEW)
    assert evaluate.main([f"run={tmp_path}", "envs=1", "episodes=2", "video=true", "view=text", "delay_s=0"]) == 0
    assert (tmp_path / "videos" / "evaluation_best.mp4").stat().st_size > 1000
    said = capsys.readouterr()
    assert "a pole\naction " in said.out
    assert said.err == ""
    assert Few.alive == 0


@pytest.mark.parametrize(("env_id", "fps"), [("CartPole-v1", 30), ("recall/TmazeBoth-v0", 5)])
def test_gymnasium_environments_say_how_slow_they_are(env_id, fps):
    assert gym_spec(env_id).video_fps() == fps
