"""Which actions are allowed: what is refused, and that nothing else is ever taken, learned from, or counted."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.gym_spaces import refuse_unplayable
from modules.envs.wrappers.masks import MaskFromInfo, MaskInObservation
from modules.errors import BadValueError
from modules.exploration import BoltzmannSpec, EpsGreedySpec, EpsLadderSpec, ExplorationContext, random_policy
from modules.losses import ops
from modules.losses.allowed import FORBIDDEN, forbid, redraw
from modules.networks.tensordict_modules import Policy
from modules.spec import UsageError
from tests.modules.builders import gym_spec, network_spec

WRAPPERS = ("tests.modules.envs.views:SomeAllowed",)
SPEC = replace(gym_spec("CartPole-v1"), wrappers=WRAPPERS, action_mask="observation")
RULES = [
    EpsGreedySpec(start=0.7, end=0.7, anneal_frames=0),
    EpsLadderSpec(base=0.7, alpha=0.0, anneal_frames=0),
    BoltzmannSpec(start=5.0, end=5.0, anneal_frames=0, clip=50.0),
]


class Door(gymnasium.Env):
    """Four actions; `masks` says one after the other which are allowed, None leaves it out."""

    action_space = spaces.Discrete(4)

    def __init__(self, masks, *, within=True):
        self.masks, self.within, self.t = masks, within, 0
        own = spaces.Box(0, 1, (1,))
        self.observation_space = spaces.Dict({"own": own, "action_mask": spaces.MultiBinary(4)}) if within else own

    def shown(self):
        mask = self.masks[self.t]
        info = {} if mask is None else {"action_mask": np.array(mask)}
        own = np.zeros(1, np.float32)
        return ({"own": own, **info} if self.within else own), info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.shown()

    def step(self, action):
        self.t += 1
        seen, info = self.shown()
        return seen, 0.0, self.t == len(self.masks) - 1, False, info


NONE, ONE = [0, 0, 0, 0], [0, 1, 0, 0]


@pytest.mark.parametrize("wrapper", [MaskInObservation, MaskFromInfo])
def test_an_episode_that_goes_on_allows_something(wrapper):
    within = wrapper is MaskInObservation
    with pytest.raises(BadValueError, match="allows none of the 4 actions"):
        wrapper(Door([NONE, ONE], within=within)).reset()
    env = wrapper(Door([ONE, NONE, ONE], within=within))
    env.reset()
    with pytest.raises(BadValueError, match="although the episode goes on"):
        env.step(1)
    env = wrapper(Door([ONE, NONE], within=within))  # at its end nothing need be allowed
    env.reset()
    assert env.step(1)[2]


def test_an_info_without_a_mask_and_one_of_another_size():
    with pytest.raises(BadValueError, match="an info without action_mask"):
        MaskFromInfo(Door([None, ONE], within=False)).reset()
    with pytest.raises(BadValueError, match="with 2 numbers for 4 actions"):
        MaskFromInfo(Door([[1, 0], ONE], within=False)).reset()
    env = MaskFromInfo(Door([ONE, None], within=False))
    env.reset()
    assert env.step(1)[0]["action_mask"].tolist() == [1, 1, 1, 1]


def test_where_nothing_is_allowed_values_are_as_they_are():
    """The last observation of an episode that was cut off may be so, and its value is bootstrapped from."""
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert forbid(values, torch.tensor([[0, 0], [0, 1]])).tolist() == [[1.0, 2.0], [FORBIDDEN, 4.0]]


class Strict(gymnasium.Wrapper):
    """Allows only pushing right, and raises at anything else."""

    def __init__(self, env):
        super().__init__(env)
        entries = {"action_mask": spaces.MultiBinary(2), "at": env.observation_space}
        self.observation_space = spaces.Dict(entries)

    def reset(self, **words):
        observation, info = self.env.reset(**words)
        return {"action_mask": np.array([0, 1], np.int8), "at": observation}, info

    def step(self, action):
        if action != 1:
            raise ValueError("illegal")
        observation, *others = self.env.step(action)
        return {"action_mask": np.array([0, 1], np.int8), "at": observation}, *others


def test_what_is_forbidden_is_not_tried_before_training_either():
    env = MaskInObservation(Strict(gymnasium.make("CartPole-v1")))
    refuse_unplayable(env, "Strict", masked=True)
    with pytest.raises(UsageError, match="the first step of Strict fails: ValueError: illegal"):
        refuse_unplayable(env, "Strict")


def test_an_observation_without_a_mask_is_refused_before_anything_begins():
    with pytest.raises(UsageError, match="needs a Dict observation with an entry action_mask of 2 numbers"):
        replace(gym_spec("CartPole-v1"), action_mask="observation").spaces()
    with pytest.raises(UsageError, match="with images or allowed actions in it"):
        replace(SPEC, keep=(0,)).spaces()


def test_a_forbidden_action_is_never_taken_and_probabilities_add_up_to_what_is_allowed():
    torch.manual_seed(0)
    env = SPEC.build(EnvContext(3, network_spec("lstm").transforms()))
    network = network_spec("lstm").build(SPEC.spaces())
    for rule in RULES:
        exploration = rule.build(ExplorationContext.all_of(3))
        policy = Policy(network, exploration.choose, exploration.probability)
        taken = env.rollout(60, policy, break_when_any_done=False)
        mask = taken[keys.OBSERVATION][..., SPEC.spaces().allowed]
        assert mask.gather(-1, taken[keys.ACTION].unsqueeze(-1)).all()
        only = mask.sum(-1) == 1
        assert only.any()
        torch.testing.assert_close(taken[keys.BEHAVIOUR][only], torch.ones(int(only.sum())))
        assert taken[keys.BEHAVIOUR][~only].max() < 1
    anything = env.rollout(60, random_policy(SPEC.spaces()), break_when_any_done=False)
    mask = anything[keys.OBSERVATION][..., SPEC.spaces().allowed]
    assert mask.gather(-1, anything[keys.ACTION].unsqueeze(-1)).all()
    assert set(anything[keys.ACTION][mask.sum(-1) == 2].tolist()) == {0, 1}


def test_what_is_drawn_again_is_any_of_the_allowed():
    torch.manual_seed(0)
    allowed = torch.tensor([True, False, True, False, True]).expand(30_000, 5)
    drawn = redraw(torch.randint(5, (30_000,)), allowed)
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert shares[1] == shares[3] == 0
    assert (shares[[0, 2, 4]] - 1 / 3).abs().max() < 0.01


def test_the_policy_of_the_target_is_uniform_over_what_is_allowed():
    values = forbid(torch.tensor([[1.0, 2.0, 3.0, 0.0]]), torch.tensor([[1, 1, 0, 1]]))
    pi = ops.eps_greedy_policy(values, 0.3)
    torch.testing.assert_close(pi, torch.tensor([[0.1, 0.8, 0.0, 0.1]]))
    assert ops.expected_value(pi, ops.signed_parabolic(values, 1e-3)).item() > 0
    assert values.min() == FORBIDDEN
