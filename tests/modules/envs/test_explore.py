from pathlib import Path

import gymnasium
import pytest
import torch
import yaml
from gymnasium.utils.env_checker import check_env
from pydantic import ValidationError
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs import gymnasium_ids
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.worlds.explore import SPECS, DeepSeaSpec, DiscountingChainSpec, GoalCorridorSpec, RandomCoinSpec
from modules.envs.worlds.explore_worlds import PAY_TIMES
from modules.keys import Spaces
from modules.networks.grid import GridSpec
from modules.networks.torsos import MlpSpec
from modules.spec import UsageError
from tests.modules.envs.contract import (
    assert_a_batch_steps_like_each_of_its_episodes_alone,
    assert_a_partial_reset_leaves_what_was_handed_out_alone,
    random_actions,
)

CONF = Path(__file__).resolve().parents[3] / "conf" / "env"
RIGHT, UP, LEFT, DOWN = range(4)
# The first row of the map that bsuite draws with seed 42: 1 where the uniform numbers with which numpy's old stream
# begins, .375 .951 .732 .599 .156 .156 .058 .866 .601 .708, are above one half.
SEED_42 = [0, 1, 1, 1, 0, 0, 0, 1, 1, 1]


def corridor(length=100, horizon=200, mapping_seed=42):
    return GoalCorridorSpec(length=length, horizon=horizon, mapping_seed=mapping_seed, **UNCHANGED)


def sea(size=10, mapping_seed=42, move_cost=0.01):
    return DeepSeaSpec(size=size, mapping_seed=mapping_seed, move_cost=move_cost, **UNCHANGED)


def coin(size=9, horizon=200):
    return RandomCoinSpec(size=size, horizon=horizon, **UNCHANGED)


def chain(mapping_seed=4):
    return DiscountingChainSpec(mapping_seed=mapping_seed, **UNCHANGED)


def play(world, state, actions):
    """Act alike in all episodes; the last state, and lists [T][N] of rewards, terminated, truncated."""
    said = []
    for action in actions:
        state, *outcome = world.step(state, torch.as_tensor(action).expand(len(state["time"])))
        said.append([column.tolist() for column in outcome])
    return state, *map(list, zip(*said, strict=True))


def test_goal_corridor_by_hand():
    """Length 2, five steps: the wall at the left end, the goal, and the time limit, which the goal outdoes."""
    world = corridor(2, 5, None).world()
    start = world.start(1)
    assert world.observe(start).tolist() == [[1, 0, 0]]
    state, rewards, terminated, truncated = play(world, start, [0, 1, 0, 1, 1])
    assert world.observe(state).tolist() == [[0, 0, 1]]
    assert rewards == [[0.0]] * 4 + [[1.0]]
    assert terminated == [[False]] * 4 + [[True]]
    assert truncated == [[False]] * 5
    state, rewards, terminated, truncated = play(world, start, [1, 0, 1, 0, 1])
    assert [state["place"].tolist(), rewards[-1], terminated[-1], truncated[-1]] == [[1], [0.0], [False], [True]]
    assert truncated[:-1] == [[False]] * 4


def test_the_map_of_actions_is_bsuites():
    mapped = corridor(10).world()
    state = {"place": torch.arange(10), "time": torch.zeros(10, dtype=torch.int64), "event": torch.zeros(10)}
    gone_right = mapped.step(state, torch.ones(10, dtype=torch.int64))[0]["place"] > state["place"]
    assert gone_right.int().tolist() == SEED_42
    world = sea().world()
    column = torch.arange(10)
    state = {"column": column, "time": torch.zeros_like(column), "event": column}
    gone_right = world.step(state, torch.ones_like(column))[1] != 0
    assert gone_right.int().tolist() == SEED_42


def test_deep_sea_by_hand():
    """Size 3: right costs a third of the cost, the edge holds, and the last right in the last cell finds."""
    world = sea(3, move_cost=0.3).world()
    goes_right = {}
    for row in range(3):
        for column in range(3):
            here = {"column": torch.tensor([column]), "time": torch.tensor([row]), "event": torch.tensor([0])}
            goes_right[row, column] = int(world.step(here, torch.tensor([1]))[1] != 0)
    right, left = (lambda r, c: goes_right[r, c]), (lambda r, c: 1 - goes_right[r, c])
    best = [right(0, 0), right(1, 1), right(2, 2)]
    state, rewards, terminated, truncated = play(world, world.start(1), best)
    assert rewards == [[pytest.approx(-0.1)], [pytest.approx(-0.1)], [pytest.approx(0.9)]]
    assert [terminated, truncated] == [[[False], [False], [True]], [[False]] * 3]
    assert [state["column"].item(), world.observe(state).sum().item()] == [2, 0]
    other, rewards, *_ = play(world, world.start(1), [left(0, 0), left(1, 0), right(2, 0)])
    assert rewards == [[0.0], [0.0], [pytest.approx(-0.1)]]
    assert other["column"].item() == 1
    near, rewards, *_ = play(world, world.start(1), [right(0, 0), right(1, 1), left(2, 2)])
    assert [rewards[-1], near["column"].item()] == [[0.0], 1]
    state, *_ = play(world, world.start(1), [right(0, 0)])
    assert world.observe(state).tolist() == [[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]


def test_random_coin_by_hand():
    """3 × 3, the coin in the middle of the bottom row; rows are counted from the top."""
    world = coin(3, 4).world()
    start = {**world.start(1), "place": torch.tensor([0]), "coin": torch.tensor([7])}
    assert world.observe(start).tolist() == [[[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]]]
    state, rewards, terminated, truncated = play(world, start, [UP, RIGHT, DOWN, DOWN])
    assert [rewards, terminated, truncated] == [[[0.0]] * 3 + [[1.0]], [[False]] * 3 + [[True]], [[False]] * 4]
    assert state["place"].tolist() == [7]
    state, rewards, terminated, truncated = play(world, start, [DOWN, DOWN, DOWN, LEFT])
    assert [state["place"].tolist(), rewards[-1], terminated[-1], truncated[-1]] == [[6], [0.0], [False], [True]]


def test_robot_and_coin_are_drawn_alike_and_never_together():
    world = coin(3, 4).world()
    world.seed(0)
    state = world.start(72 * 400)
    pairs = torch.bincount(state["place"] * 9 + state["coin"], minlength=81).view(9, 9)
    assert (pairs.diagonal() == 0).all()
    assert (pairs[~torch.eye(9, dtype=torch.bool)] - 400).abs().max() < 5 * 20  # standard deviation 20


@pytest.mark.parametrize("mapping_seed", [*range(5), 9])
def test_discounting_chain_pays_what_each_chain_owes(mapping_seed):
    world = chain(mapping_seed).world()
    start = world.start(5)
    assert world.observe(start).tolist() == [[-1, 0]] * 5
    later = torch.randint(5, (99, 5), generator=torch.Generator().manual_seed(0))  # they change nothing
    state, rewards, terminated, truncated = play(world, start, [torch.arange(5), *later])
    for number, time in enumerate(PAY_TIMES):
        updates_due = [0.0] * 100
        updates_due[time - 1] = 1.1 if number == mapping_seed % 5 else 1.0
        assert [reward[number] for reward in rewards] == pytest.approx(updates_due)
    assert [terminated, truncated] == [[[False] * 5] * 99 + [[True] * 5], [[False] * 5] * 100]
    assert world.observe(state).tolist() == [[number, 1] for number in range(5)]
    assert world.observe(play(world, start, [2, 0])[0])[0].tolist() == [2, pytest.approx(0.02)]


EVERY = [corridor(), corridor(3, 7), sea(), sea(4), coin(), coin(3, 5), chain()]


@pytest.mark.parametrize("spec", EVERY)
def test_environment_keeps_torchrls_contract(spec):
    env = spec.build(EnvContext(3))
    check_env_specs(env, seed=0)
    td = env.rollout(spec.episode_limit() + 20, break_when_any_done=False)
    ends = td["next", keys.DONE].squeeze(-1)
    steps = td["next", keys.STEP_COUNT][..., 0][ends]
    assert (steps <= spec.episode_limit()).all()
    assert (steps[td["next", keys.TRUNCATED].squeeze(-1)[ends]] == spec.episode_limit()).all()
    assert torch.equal(td["next", keys.DONE], td["next", keys.TERMINATED] ^ td["next", keys.TRUNCATED])
    low, high = spec.world().bounds
    assert low <= td[keys.OBSERVATION].min() <= td[keys.OBSERVATION].max() <= high


@pytest.mark.parametrize("spec", EVERY)
def test_every_state_has_a_cell_of_its_own_on_the_map_of_visits(spec):
    """Two states of an episode share a cell only where what is observed is the same, the ground apart."""
    env = spec.build(EnvContext(8))
    world, td = env.base_env.world, env.reset()
    rows, columns = world.grid_shape
    seen = {}
    for _ in range(150):
        td = env.step(env.rand_action(td))["next"]
        cells = world.cells(env.base_env.state)
        assert [cells.shape, cells.dtype] == [(8,), torch.int64]
        assert 0 <= cells.min() <= cells.max() < rows * columns
        for cell, seen_now in zip(cells.tolist(), td[keys.OBSERVATION], strict=True):
            where = seen_now[:, : seen_now.shape[1] // 2] if isinstance(spec, RandomCoinSpec) else seen_now
            seen.setdefault(cell, set()).add(tuple(where.flatten().tolist()))
        td = env.reset(td.set("_reset", td[keys.DONE])) if td[keys.DONE].any() else td
    assert all(len(alike) == 1 for alike in seen.values())
    assert len(seen) > 3


def test_where_cells_lie():
    world = sea(4).world()
    assert world.grid_shape == (5, 4)
    assert world.cells({"time": torch.tensor([0, 2, 4]), "column": torch.tensor([0, 1, 3])}).tolist() == [0, 9, 19]
    world = corridor(5, 9).world()
    assert [world.grid_shape, world.cells({"place": torch.tensor([3])}).tolist()] == [(1, 6), [3]]
    assert coin().world().grid_shape == (9, 9)
    world = chain().world()
    assert world.grid_shape == (6, 101)
    assert world.cells({"chain": torch.tensor([-1, 4]), "time": torch.tensor([0, 100])}).tolist() == [0, 605]


def test_spaces_keys_and_words():
    planes = torch.uint8
    assert corridor().spaces() == Spaces(observation_shape=(101,), observation_dtype=planes, n_actions=2)
    assert sea().spaces() == Spaces(observation_shape=(10, 10), observation_dtype=planes, n_actions=2)
    assert coin().spaces() == Spaces(observation_shape=(9, 18), observation_dtype=planes, n_actions=4)
    assert chain().spaces() == Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=5)
    found = {key: coin().actions[action] for key, action in coin().keys().items()}
    assert found == {"w": "up", "a": "left", "s": "down", "d": "right"}
    assert [corridor(mapping_seed=None).actions, corridor().actions[1]] == [("left", "right"), "1"]
    assert corridor().keys() == sea().keys() == {"a": 0, "d": 1}
    assert {key: chain().actions[action] for key, action in chain().keys().items()}["3"] == "chain 30"
    for spec in EVERY:
        assert len(spec.actions) == len(spec.keys()) == spec.spaces().n_actions


@pytest.mark.parametrize("spec", EVERY)
def test_torsos_read_them(spec):
    torsos = [MlpSpec(out_features=8, hidden=(), activation="relu", norm="none", bias=True, init="default")]
    if isinstance(spec, DeepSeaSpec | RandomCoinSpec):
        torsos.append(GridSpec(channels=(4,), kernel=3, out_features=8, activation="relu"))
    for torso in torsos:
        assert not [*torso.fits(spec.spaces())]
        read = torso.build(spec.spaces())(spec.build(EnvContext(2)).reset()[keys.OBSERVATION])
        assert read.shape == (2, 8)


@pytest.mark.parametrize("spec", EVERY)
def test_a_batch_steps_like_each_of_its_episodes_alone(spec):
    world = spec.world()
    actions = random_actions(world, min(spec.episode_limit(), 30))
    assert_a_batch_steps_like_each_of_its_episodes_alone(world, actions, looks=[world.cells])


@pytest.mark.parametrize("spec", [corridor(), sea(), coin(30, 200), chain()])
def test_a_partial_reset_leaves_what_was_handed_out_alone(spec):
    assert_a_partial_reset_leaves_what_was_handed_out_alone(spec)


def test_episodes_follow_the_seed():
    """Only the coin's room is drawn per episode; maps of actions belong to the settings."""

    def coins(seed):
        env = coin().build(EnvContext(50))
        env.set_seed(seed)
        return torch.stack([env.reset()[keys.OBSERVATION] for _ in range(2)])

    first, again, other = coins(5), coins(5), coins(6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    for make in (corridor, sea):
        maps = []
        for mapping_seed, seed in ((42, 0), (42, 1), (43, 0)):
            world = make(mapping_seed=mapping_seed).world()
            world.seed(seed)
            state, way = world.start(1), []
            for action in (1, 0, 1, 1, 0, 0, 1, 0):
                state, *_ = play(world, state, [action])
                way.append(world.cells(state).item())
            maps.append(way)
        assert maps[0] == maps[1]
        assert maps[0] != maps[2]


@pytest.mark.parametrize("name", SPECS)
def test_gymnasium_ids_have_the_settings_of_the_yaml(name):
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert settings.pop("_target_") == f"modules.envs.worlds.explore.{SPECS[name].__name__}"
    title = "".join(map(str.capitalize, name.split("_")))
    env = gymnasium.make(f"{gymnasium_ids.__name__}:recall/{title}-v0").unwrapped
    check_env(env)
    assert env.world.task == SPECS[name](**settings, **UNCHANGED)
    env.reset(seed=0)
    steps = 1
    while not any((last := env.step(0))[2:4]):
        assert last[0] in env.observation_space
        steps += 1
    assert steps <= env.world.task.episode_limit()


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match=r"^env\.horizon=99 must be at least env\.length=100, or nobody can reach"):
        corridor(horizon=99).spaces()
    with pytest.raises(UsageError, match=r"^env\.horizon=15 must be at least 16, the way between two corners$"):
        coin(horizon=15).spaces()
    wrong = [(corridor, {"length": 0}), (corridor, {"length": 501}), (corridor, {"mapping_seed": -1})]
    wrong += [(sea, {"size": 1}), (sea, {"size": 101}), (sea, {"move_cost": -0.1}), (sea, {"mapping_seed": 2**32})]
    wrong += [(coin, {"size": 1}), (coin, {"size": 51}), (coin, {"horizon": 0}), (chain, {"mapping_seed": -1})]
    for make, words in wrong:
        with pytest.raises(ValidationError):
            make(**words)
