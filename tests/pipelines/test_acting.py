"""A policy on plain NumPy observations does what it does in an evaluation."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from modules.evaluation import Callback, Step
from modules.seeding import seed_for
from modules.spec import UsageError
from pipelines.api import evaluate, load
from tests.pipelines.saved_runs import KINDS, MASKED, saved_kind, saved_run, varied


class Steps(Callback):
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def on_step_end(self, step):
        self.steps.append(step)


def evaluated(run_dir: Path, seed: int) -> list[Step]:
    """Every step of one evaluated episode."""
    kept = Steps()
    evaluate(run_dir, episodes=1, seed=seed, callbacks=[kept])
    return kept.steps


@pytest.mark.parametrize("name", KINDS)
def test_an_episode_in_plain_gymnasium_has_the_actions_of_the_evaluation(name, tmp_path):
    saved_kind(tmp_path, name)
    pixels = name == "pixels"
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array" if pixels else None)
    every = []
    for seed in range(3):
        policy = load(tmp_path)  # again, because the statistics of novelty continue
        observation, _ = env.reset(seed=seed_for(seed, "held-out evaluation"))
        actions, reward, over = [], 0.0, False
        while not over:
            action = policy(env.render() if pixels else observation, reward=reward)
            observation, reward, terminated, truncated, _ = env.step(action)
            actions.append(action)
            over = terminated or truncated
        assert actions == [step.action for step in evaluated(tmp_path, seed)]
        every += actions
    assert varied(every)
    assert all(type(action) is int for action in every)


def test_novelty_and_arm_are_there_without_the_environment(tmp_path):
    run = saved_kind(tmp_path, "family")
    assert set(run.network.reads) >= {"previous_reward", "previous_intrinsic", "arm"}
    observations = np.random.default_rng(0).normal(size=(40, 4))
    found = []
    for arm in (0, 7):
        policy = load(tmp_path, arm=arm)
        found.append([policy(observation, reward=1.0) for observation in observations])
    assert found[0] != found[1]


def test_several_environments_side_by_side_are_as_each_alone(tmp_path):
    saved_kind(tmp_path, "previous")
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(12, 3, 4)).astype(np.float32)
    rewards = generator.normal(size=(12, 3))
    first = generator.random((12, 3)) < 0.3
    first[0] = True
    policy = load(tmp_path)
    together = [policy(o, reward=r, first=f) for o, r, f in zip(observations, rewards, first, strict=True)]
    assert np.shape(together) == (12, 3)
    for i in range(3):
        policy = load(tmp_path)
        alone = [
            policy(o, reward=r, first=f) for o, r, f in zip(observations[:, i], rewards[:, i], first[:, i], strict=True)
        ]
        assert alone == [int(actions[i]) for actions in together]
    assert varied([int(action) for actions in together for action in actions])


def test_the_reward_given_at_a_first_step_is_that_of_another_episode(tmp_path):
    """In a loop over episodes it is the last one's; inside an episode it counts."""
    saved_kind(tmp_path, "previous")
    policy = load(tmp_path)
    observations = np.random.default_rng(0).normal(size=(2, 200, 4))
    large = np.linspace(-50, 50, 200)
    found = []
    for at_first, later in ((None, 0.0), (large, 0.0), (0.0, large)):
        policy.reset()
        found.append(
            [policy(observations[0], reward=at_first).tolist(), policy(observations[1], reward=later).tolist()]
        )
    nothing, first, second = found
    assert first == nothing
    assert second[0] == nothing[0]
    assert second[1] != nothing[1]
    policy.reset()
    policy(observations[0])
    begins = np.arange(200) % 2 == 0  # some episodes begin while others continue
    mixed = policy(observations[1], reward=large, first=begins)
    assert mixed[begins].tolist() == policy(observations[1], reward=0.0, first=True)[begins].tolist()


def test_reset_forgets_everything(tmp_path):
    saved_kind(tmp_path, "previous")
    policy = load(tmp_path)
    observations = 0.05 * np.random.default_rng(0).normal(size=(20, 4))

    def episode():
        return [policy(observation, reward=1.0) for observation in observations]

    begun = episode()
    assert episode() != begun  # it remembers
    policy.reset()
    assert episode() == begun


def test_several_at_once_need_a_reset_to_become_another_number(tmp_path):
    saved_run(tmp_path, MASKED)
    policy = load(tmp_path)
    assert policy(np.zeros((2, 4))).shape == (2,)
    with pytest.raises(UsageError, match=r"3 at once, but 2 in the call before; call reset\(\) in between"):
        policy(np.zeros((3, 4)))
    policy.reset()
    assert policy(np.zeros((3, 4))).shape == (3,)


@pytest.mark.parametrize(
    ("observation", "given", "sentence"),
    [
        (np.zeros(2), {}, r"observation: it cannot be read as one of this environment \(.*Box\("),
        (np.zeros((1, 1, 4)), {}, "observation: it cannot be read"),
        ("far left", {}, "observation: it cannot be read"),
        (None, {}, "observation: it cannot be read"),
        (np.array([0, 0, np.nan, 0]), {}, "observation: there is NaN or infinity in it"),
        (np.zeros(4), {"first": [True, False]}, "first: it must be one value, or one for each of the 1 observations"),
        (np.zeros(4), {"reward": "much"}, "reward: it must be one value, .*, not 'much'"),
        (np.zeros(4), {"first": False}, "reward: this network reads the reward of the step before"),
    ],
)
def test_what_does_not_fit_is_one_sentence(observation, given, sentence, tmp_path):
    saved_kind(tmp_path, "previous")
    policy = load(tmp_path)
    if given.get("first") is False:
        policy(np.zeros(4))
    with pytest.raises(UsageError, match=sentence) as said:
        policy(observation, **given)
    assert "\n" not in str(said.value)


def test_loading_leaves_the_callers_randomness_and_threads_alone(tmp_path):
    saved_run(tmp_path, MASKED, "threads=2")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    load(tmp_path)
    evaluate(tmp_path, episodes=1)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002
    assert torch.get_num_threads() == 1
