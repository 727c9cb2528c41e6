from itertools import product

import gymnasium
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from pydantic import ValidationError
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs import gymnasium_ids
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.worlds.tiny import DECK, SPECS, SUITS, MemoryLenSpec, PassiveTmazeSpec, RepeatPreviousSpec
from modules.keys import Spaces
from modules.spec import UsageError
from tests.modules.envs.contract import (
    assert_a_batch_steps_like_each_of_its_episodes_alone,
    assert_a_partial_reset_leaves_what_was_handed_out_alone,
    random_actions,
)

AHEAD, UP, BACK, DOWN = range(4)


def chain(length=10, bits=1):
    return MemoryLenSpec(length=length, bits=bits, **UNCHANGED)


def tmaze(length=20, reward_goal=1.0, penalty=1.0):
    return PassiveTmazeSpec(length=length, reward_goal=reward_goal, penalty=penalty, **UNCHANGED)


def cards(k=4, length=51):
    return RepeatPreviousSpec(k=k, length=length, **UNCHANGED)


def starts(spec):
    """The world, and all episodes that can begin, equally likely."""
    world = spec.world()
    if isinstance(spec, PassiveTmazeSpec):
        return world, {**world.start(2), "goal": torch.tensor([-1, 1])}
    both = [*product(product((0, 1), repeat=spec.bits), range(spec.bits))]
    bits, query = torch.tensor([bits for bits, _ in both]), torch.tensor([query for _, query in both])
    return world, {**world.start(len(both)), "bits": bits, "query": query}


def hand(world, suits):
    """Episodes with these cards, [N, length + 1]."""
    suits = torch.tensor(suits)
    return {**world.start(len(suits)), "cards": suits}


def play(world, state, actions):
    """Act alike in all episodes; observations after each step, rewards [T, N], terminated [T, N]."""
    seen, rewards, ends = [], [], []
    for action in actions:
        state, reward, terminated, truncated = world.step(state, torch.as_tensor(action).expand(len(state["time"])))
        assert not truncated.any()
        seen.append(world.observe(state).tolist())
        rewards.append(reward.tolist())
        ends.append(terminated.tolist())
    return seen, rewards, ends


def test_memory_len_by_hand():
    """Length 3, bits 1 and 0: shown twice, nothing until the fourth action, which is the answer."""
    world, state = starts(chain(3))
    assert state["bits"].tolist() == [[0], [1]]
    assert world.observe(state).tolist() == [[1, 0, -1], [1, 0, 1]]
    seen, rewards, ends = play(world, state, [1, 0, 0, 1])
    assert seen[0] == [[1, 0, -1], [1, 0, 1]]
    for share, observed in zip((2 / 3, 1 / 3, 0), seen[1:], strict=True):
        assert observed == [[pytest.approx(share), 0, 0]] * 2
    assert rewards == [[0, 0]] * 3 + [[-1, 1]]
    assert ends == [[False] * 2] * 3 + [[True] * 2]


def test_memory_len_asks_for_one_of_several_bits():
    world = chain(3, bits=3).world()
    state = {**world.start(2), "bits": torch.tensor([[1, 0, 0], [1, 0, 1]]), "query": torch.tensor([2, 1])}
    assert world.observe(state).tolist() == [[1, 0, 1, -1, -1], [1, 0, 1, -1, 1]]
    seen, rewards, _ = play(world, state, [0, 0, 0, 1])
    assert [row[1] for row in seen[2]] == [2, 1]  # only the last observation before the answer asks
    assert [row[1] for step in (seen[0], seen[1], seen[3]) for row in step] == [0] * 6
    assert rewards[-1] == [-1, -1]
    assert play(world, state, [1, 1, 1, 0])[1][-1] == [1, 1]


def test_passive_tmaze_by_hand():
    """Length 3: on time up, on time down; one who dawdles pays a third at once and whenever behind."""
    world, state = starts(tmaze(3))
    assert world.observe(state).tolist() == [[0, -1], [0, 1]]
    seen, rewards, ends = play(world, state, [AHEAD, AHEAD, AHEAD, UP])
    assert seen == [[[0, 0]] * 2] * 2 + [[[1, 0]] * 2] + [[[1, 1]] * 2]
    assert rewards == [[0, 0]] * 3 + [[0, 1]]
    assert ends == [[False] * 2] * 3 + [[True] * 2]
    assert play(world, state, [AHEAD, AHEAD, AHEAD, DOWN])[1][-1] == [1, 0]
    assert play(world, state, [AHEAD, AHEAD, AHEAD, AHEAD])[1] == [[0, 0]] * 4  # a wall behind the junction
    third = pytest.approx(-1 / 3)
    seen, rewards, _ = play(world, state, [UP, BACK, AHEAD, AHEAD])
    assert seen[:2] == [[[0, 0]] * 2] * 2  # walls on both sides and behind; the cue is gone, though nobody moved
    assert rewards == [[third] * 2] * 3 + [[0, 0]]  # the last step never costs
    assert play(world, state, [BACK, AHEAD, AHEAD, AHEAD])[0][-1] == [[1, 0]] * 2  # behind the start is a wall
    assert play(world, state, [AHEAD, BACK, AHEAD, AHEAD])[1] == [[0, 0], [third] * 2, [third] * 2, [0, 0]]
    assert sum(reward[0] for reward in play(world, state, [DOWN] * 4)[1]) == pytest.approx(-1)


def test_passive_tmaze_prices_are_settings():
    world, state = starts(tmaze(4, reward_goal=5.0, penalty=2.0))
    _, rewards, _ = play(world, state, [AHEAD] * 4 + [UP])
    assert rewards[-1] == [0, 5]
    assert play(world, state, [UP])[1] == [[-0.5, -0.5]]
    world, state = starts(tmaze(4, penalty=0.0))
    assert not any(map(any, play(world, state, [UP] * 5)[1]))


def test_repeat_previous_by_hand():
    """k = 2 of C D H S in 3 steps: from the second step on, the suit before the one that shows."""
    world = cards(2, 3).world()
    state = hand(world, [[0, 1, 2, 3], [3, 3, 0, 1]])
    assert world.observe(state).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    seen, rewards, ends = play(world, state, [0, 0, 3])
    assert seen[0] == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert seen[2] == [[0, 0, 0, 1], [0, 1, 0, 0]]
    assert rewards == [[0, 0], [0.5, -0.5], [-0.5, 0.5]]
    assert ends == [[False] * 2] * 2 + [[True] * 2]
    shown = cards(1, 3).world()
    assert play(shown, hand(shown, [[2, 1, 0, 3]]), [2, 1, 3])[1] == [[pytest.approx(1 / 3)]] * 2 + [
        [pytest.approx(-1 / 3)]
    ]


@pytest.mark.parametrize(("length", "decks"), [(51, 1), (103, 2), (20, 1), (60, 2)])
def test_cards_come_from_shuffled_decks(length, decks):
    world = cards(4, length).world()
    world.seed(1)
    drawn = world.start(4000)["cards"]
    assert drawn.shape == (4000, length + 1)
    counts = torch.stack([(drawn == suit).sum(1) for suit in range(SUITS)], 1)
    if length + 1 == decks * DECK:
        assert (counts == decks * DECK // SUITS).all()
    assert (counts <= decks * DECK // SUITS).all()
    for place in (0, length):
        share = torch.bincount(drawn[:, place], minlength=SUITS) / 4000
        assert (share - 0.25).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5
    alike = (drawn[:, 0] == drawn[:, 3]).float().mean().item()
    cards_of_a_suit = decks * DECK // SUITS
    assert alike == pytest.approx((cards_of_a_suit - 1) / (decks * DECK - 1), abs=4 * (0.2 * 0.8 / 4000) ** 0.5)


EVERY = [chain(), chain(4, bits=3), tmaze(5), cards(), cards(3, 8)]


@pytest.mark.parametrize("spec", EVERY)
def test_environment_keeps_torchrls_contract(spec):
    env = spec.build(EnvContext(3))
    check_env_specs(env, seed=0)
    td = env.rollout(1000, break_when_any_done=False)
    ends = td["next", keys.DONE].squeeze(-1)
    length = spec.episode_limit()
    assert ends.nonzero()[:, 1].unique().tolist() == [*range(length - 1, 1000, length)]
    assert (td["next", keys.STEP_COUNT][..., 0][ends] == length).all()
    assert torch.equal(td["next", keys.TERMINATED], td["next", keys.DONE])
    low, high = spec.world().bounds
    assert low <= td[keys.OBSERVATION].min() <= td[keys.OBSERVATION].max() <= high


def test_spaces_and_keys():
    floats, planes = torch.float32, torch.uint8
    assert chain(4, bits=3).spaces() == Spaces(observation_shape=(5,), observation_dtype=floats, n_actions=2)
    assert tmaze().spaces() == Spaces(observation_shape=(2,), observation_dtype=floats, n_actions=4)
    assert cards().spaces() == Spaces(observation_shape=(4,), observation_dtype=planes, n_actions=4)
    found = {key: tmaze().actions[action] for key, action in tmaze().keys().items()}
    assert found == {"w": "up", "a": "left", "s": "down", "d": "right"}
    assert chain().keys() == {"0": 0, "1": 1}


@pytest.mark.parametrize("spec", EVERY)
def test_a_batch_steps_like_each_of_its_episodes_alone(spec):
    world = spec.world()
    assert_a_batch_steps_like_each_of_its_episodes_alone(world, random_actions(world, spec.episode_limit()))


@pytest.mark.parametrize("spec", EVERY)
def test_a_partial_reset_leaves_what_was_handed_out_alone(spec):
    assert_a_partial_reset_leaves_what_was_handed_out_alone(spec)


@pytest.mark.parametrize(("spec", "hidden"), [(chain(), "bits"), (tmaze(), "goal"), (cards(), "cards")])
def test_episodes_follow_the_seed(spec, hidden):
    world = spec.world()
    world.seed(5)
    drawn, next_ones = world.start(2000)[hidden], world.start(2000)[hidden]
    world.seed(5)
    assert torch.equal(world.start(2000)[hidden], drawn)
    assert torch.equal(world.start(2000)[hidden], next_ones)
    assert not torch.equal(drawn, next_ones)
    if hidden != "cards":
        assert drawn.unique().tolist() == ([0, 1] if hidden == "bits" else [-1, 1])
        assert abs((drawn == 1).sum().item() - 1000) < 4 * 22.4  # standard deviation 22.4


@pytest.mark.parametrize("name", ["MemoryLen", "PassiveTmaze", "RepeatPrevious"])
def test_gymnasium_ids(name):
    env = gymnasium.make(f"{gymnasium_ids.__name__}:recall/{name}-v0").unwrapped
    check_env(env)
    assert (
        env.world.task
        in {MemoryLenSpec: [chain()], PassiveTmazeSpec: [tmaze()], RepeatPreviousSpec: [cards()]}[type(env.world.task)]
    )
    env.reset(seed=0)
    steps = 1
    while not (last := env.step(0))[2]:
        assert not last[3]
        assert last[0] in env.observation_space
        steps += 1
    assert steps == env.world.task.episode_limit()
    assert gymnasium.make(f"recall/{name}-v0", length=7).unwrapped.world.task.length == 7


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match=r"env\.k=5 must be at most env\.length=4"):
        cards(5, 4).spaces()
    for make, words in ((chain, {"bits": 0}), (tmaze, {"length": 0}), (tmaze, {"penalty": -0.1}), (cards, {"k": 0})):
        with pytest.raises(ValidationError):
            make(**words)
    assert set(SPECS) == {"memory_len", "passive_tmaze", "repeat_previous"}
