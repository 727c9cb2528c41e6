"""`evaluate minari=NAME`: what the environment gave, as Minari reads it."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from pipelines.evaluate import main
from tests.pipelines.saved_runs import MASKED, saved_kind, saved_run

minari = pytest.importorskip("minari", reason="needs the extra minari")
pytest.importorskip("h5py", reason="needs the extra minari")
PLAIN = ("env=gym", "network/torso=mlp", "env.keep=null")


class Mixed(gymnasium.Env):
    """Shows an image and numbers in a Dict and a Tuple, and takes two actions at once; one episode is 4 steps."""

    observation_space = Dict({"image": Box(0, 255, (40, 36, 3), np.uint8), "pair": Tuple((Discrete(3), Box(-1, 1)))})
    action_space = MultiDiscrete([2, 3])

    def __init__(self, render_mode=None):
        self.step_count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count = 0
        return self._seen(), {"count": 0, "text": "left out", "sometimes": 1}

    def step(self, action):
        self.step_count += 1
        return self._seen(), 0.5, False, self.step_count == 4, {"count": self.step_count}

    def _seen(self):
        image = self.np_random.integers(0, 256, (40, 36, 3), dtype=np.uint8)
        return {"image": image, "pair": (int(self.step_count % 3), np.float32([self.step_count / 4]))}


gymnasium.register("MinariMixed-v0", f"{__name__}:Mixed")


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


def exported(run_dir, *words, episodes=3, name="task/test-v0"):
    """Evaluate, and read the data set; each of its episodes is as the evaluation has it."""
    assert main([f"run={run_dir}", f"episodes={episodes}", f"minari={name}", *words]) == 0
    dataset = minari.load_dataset(name)
    result = json.loads((run_dir / "evaluation.json").read_text())
    found = [dataset[i] for i in range(episodes)]
    assert dataset.total_episodes == episodes
    assert [float(np.sum(episode.rewards)) for episode in found] == pytest.approx(result["returns"])
    assert np.mean([len(episode.rewards) for episode in found]) == result["length_mean"]
    for episode in found:
        ends = episode.terminations | episode.truncations
        assert ends.tolist() == [False] * (len(ends) - 1) + [True]
    return dataset, found


def test_all_entries_and_plain_rewards_of_a_vector(tmp_path):
    saved_run(tmp_path, MASKED, "env.reward_scale=0.1", "env.window_length=2")
    dataset, found = exported(tmp_path, episodes=5)
    for episode in found:
        length = len(episode.rewards)
        assert episode.observations.shape == (length + 1, 4)  # of which the network sees two
        assert episode.actions.shape == (length,)
        assert set(episode.rewards) == {1.0}
    env = dataset.recover_environment()
    assert env.spec.id == "CartPole-v1"
    first, (meta, *_) = found[0], dataset.storage.get_episode_metadata([0])
    observation, _ = env.reset(seed=meta["seed"])
    for step, action in enumerate(first.actions):  # the environment that it says makes the same episode
        np.testing.assert_array_equal(observation, first.observations[step])
        observation, *_ = env.step(action)
    np.testing.assert_array_equal(observation, first.observations[-1])


def test_more_episodes_than_environments_keep_their_numbers(tmp_path):
    saved_kind(tmp_path, "previous")
    exported(tmp_path, "envs=3", episodes=8)
    with_steps = tmp_path / "again"
    saved_kind(with_steps, "previous")
    _, found = exported(with_steps, "envs=3", "steps=csv", episodes=8, name="task/again-v0")
    rows = (with_steps / "episodes.csv").read_text().splitlines()[1:]
    actions = [[int(row.split(",")[2]) for row in rows if row.startswith(f"{number},")] for number in range(8)]
    assert [episode.actions.tolist() for episode in found] == actions


def test_images_dicts_tuples_and_joint_actions_are_as_they_are(tmp_path):
    saved_run(tmp_path, MASKED, *PLAIN, "env.id=MinariMixed-v0", "env.max_steps=3")
    dataset, found = exported(tmp_path)
    assert dataset.observation_space == Mixed.observation_space
    assert dataset.action_space == Mixed.action_space
    env = Mixed()
    for number, episode in enumerate(found):
        (meta,) = dataset.storage.get_episode_metadata([number])
        image = env.reset(seed=meta["seed"])[0]["image"]
        np.testing.assert_array_equal(episode.observations["image"][0], image)  # no pixel is changed
        assert episode.observations["pair"][0].tolist() == [0, 1, 2, 0]
        assert episode.observations["pair"][1].shape == (4, 1)
        assert episode.actions.shape == (3, 2)
        assert episode.infos.keys() == {"count"}
        assert episode.infos["count"].tolist() == [0, 1, 2, 3]
        assert episode.truncations[-1]  # by max_steps, which the environment knows nothing of
    assert dataset.recover_environment().spec.max_episode_steps == 3


def test_numbers_stay_numbers(tmp_path):
    saved_run(tmp_path, MASKED, *PLAIN, "env.id=FrozenLake-v1", "+env.kwargs.is_slippery=false", "env.max_steps=9")
    dataset, found = exported(tmp_path)
    assert dataset.observation_space == Discrete(16)
    for episode in found:
        assert episode.observations.shape == (len(episode.rewards) + 1,)
        assert episode.observations[0] == 0
    assert dataset.recover_environment().unwrapped.spec.kwargs["is_slippery"] is False


def test_pixels_are_the_frames_that_the_network_saw(tmp_path, caplog):
    saved_run(tmp_path, "+exp=drqn_cartpole", "env.window_length=2", "eval_max_steps=6")
    dataset, found = exported(tmp_path)
    assert dataset.observation_space.dtype == np.uint8
    for episode in found:
        assert episode.observations.shape == (7, *dataset.observation_space.shape)
        assert episode.observations.std() > 0
        assert len(np.unique(episode.observations, axis=0)) > 1
    assert dataset.env_spec is None


@pytest.mark.parametrize("words", [("+exp=tour",), ("+exp=corridor",), ("+exp=r2d2_memory_len", "env.length=5")])
def test_a_world_of_ours_can_be_made_again(words, tmp_path):
    saved_run(tmp_path, *words, "eval_max_steps=20")
    dataset, found = exported(tmp_path)
    env = dataset.recover_environment()
    assert env.observation_space == dataset.observation_space
    observation, _ = env.reset(seed=0)
    assert observation.shape == found[0].observations[0].shape
    assert env.observation_space.contains(found[0].observations[-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("minari=mine",), "minari: a data set is called NAMESPACE/NAME-v0 or NAME-v0, not 'mine'"),
        (("minari=there-v0",), "minari: there is a data set there-v0 already"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_played(words, said, tmp_path, datasets, capsys):
    saved_kind(tmp_path, "lstm")
    exported(tmp_path, name="there-v0", episodes=1)
    (tmp_path / "evaluation.json").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([f"run={tmp_path}", "episodes=2", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "evaluation.json").exists()


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, capsys):
    saved_kind(tmp_path, "lstm")
    monkeypatch.setattr("pipelines.agent.minari_dataset.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main([f"run={tmp_path}", "minari=mine-v0"])
    assert "minari=mine-v0 needs minari and h5py: install with" in capsys.readouterr().err
