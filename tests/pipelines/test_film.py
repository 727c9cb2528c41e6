"""Films show whole episodes, at a pace that can be followed."""

import cv2
import pytest

from modules.evaluation import run_episodes
from modules.seeding import seed_for
from pipelines import evaluate
from pipelines.film import FRAMES, film
from pipelines.held_out import DEFAULTS, Evaluation
from tests.modules.builders import gym_spec
from tests.pipelines.launch import run

TINY = ("+exp=tour", "+debug=smoke", "env.task=tmaze_either", "total_frames=100", "video=true", "hydra.run.dir=run")
LONGEST = 6  # frames of an episode: the start and five steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("film")
    ended = run("pipelines.train", *TINY, cwd=place)
    assert ended.code == 0, ended.err
    return place / "run"


def filmed(trained, path):
    """Film with the saved weights; return how many frames there are."""
    subject = evaluate.loaded(Evaluation(**(DEFAULTS | {"run": trained})))
    film(subject.run, subject.policy, subject.around(1), seed=3, path=path)
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)


def test_short_episodes_follow_each_other_slowly(trained):
    (path,) = (trained / "videos").iterdir()
    shown = cv2.VideoCapture(str(path))
    assert shown.get(cv2.CAP_PROP_FPS) == 5
    assert FRAMES <= shown.get(cv2.CAP_PROP_FRAME_COUNT) < FRAMES + LONGEST


def test_every_episode_is_whole_and_another_one(trained, monkeypatch, tmp_path):
    played = []

    def seen(env, policy, *, seed, **words):
        played.append((seed, run_episodes(env, policy, seed=seed, **words).lengths))

    monkeypatch.setattr("pipelines.film.run_episodes", seen)
    assert filmed(trained, tmp_path / "film.mp4") == sum(length + 1 for _, (length,) in played)
    assert played[0][0] == seed_for(3, "video")  # the one that view=text shows
    assert len({seed for seed, _ in played}) == len(played) >= FRAMES / LONGEST


def test_one_long_episode_is_enough(trained, monkeypatch, tmp_path):
    monkeypatch.setattr("pipelines.film.FRAMES", 2)
    assert 2 <= filmed(trained, tmp_path / "film.mp4") <= LONGEST


@pytest.mark.parametrize(("env_id", "fps"), [("CartPole-v1", 30), ("recall/TmazeBoth-v0", 5)])
def test_gymnasium_environments_say_how_slow_they_are(env_id, fps):
    assert gym_spec(env_id).video_fps() == fps
