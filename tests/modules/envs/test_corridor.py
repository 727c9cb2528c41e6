from dataclasses import fields
from itertools import product
from pathlib import Path

import cv2
import pytest
import torch
from pydantic import ValidationError
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs import rendering
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.rendering.corridor import write_all
from modules.envs.rendering.drawing import CELLS, ROBOT
from modules.envs.worlds.corridor import TASKS, Corridor, CorridorSpec, Task
from modules.envs.worlds.world import FOUND, HIT, NOTHING
from modules.keys import Spaces
from modules.spec import UsageError

TRY, ADVANCE = 0, 1
DOCS = Path(__file__).resolve().parents[3] / "docs" / "tasks"


def spec(task, **changes):
    names = [field.name for field in fields(CorridorSpec)]
    return CorridorSpec(**(dict.fromkeys(names) | {"task": task} | UNCHANGED | changes))


def placed(world, goals):
    """Starts with these goals instead of drawn ones."""
    return {**world.start(len(goals)), "goal": torch.as_tensor(goals)}


def returns(world, state, choose):
    """Returns [N] of episodes in which `choose(observation, time)` decides."""
    total, alive = torch.zeros(len(state["goal"])), torch.ones(len(state["goal"]), dtype=torch.bool)
    for time in range(world.task.length):
        state, reward, terminated, truncated = world.step(state, choose(world.observe(state), time))
        assert not truncated.any()
        total += reward * alive
        alive &= ~terminated
    assert not alive.any()
    return total


def optimum(world):
    """Best mean return with everything known: all sequences of actions, for each goal."""
    plans = torch.tensor([*product((TRY, ADVANCE), repeat=world.task.length)])
    best = []
    for goal in world.task.goals:
        state = placed(world, [goal] * len(plans))
        best.append(returns(world, state, lambda _, time: plans[:, time]).max())
    return float(torch.stack(best).mean())


def best_memoryless(world):
    """Best mean return of a map from observations to actions: all maps, each on every goal."""
    goals = world.task.goals
    state, seen = placed(world, goals), []
    for _ in range(world.task.length):
        seen.append(world.observe(state))
        state, *_ = world.step(state, torch.full((len(goals),), ADVANCE))
    kinds = torch.cat(seen).unique(dim=0)  # everything that can be observed before trying
    maps = torch.tensor([*product((TRY, ADVANCE), repeat=len(kinds))])
    played = maps.repeat_interleave(len(goals), 0)

    def choose(observation, _):
        same = (observation[:, None] == kinds).all(-1)
        return torch.where(same.any(-1), played.gather(1, same.int().argmax(-1, keepdim=True)).squeeze(1), TRY)

    total = returns(world, placed(world, list(goals) * len(maps)), choose)
    return float(total.view(len(maps), len(goals)).mean(1).max())


@pytest.mark.parametrize(
    ("task", "memoryless"), [("L8g23v", 1.0), ("L8g23", 0.5), ("L8g34", 0.5), ("L8g67", 0.5), ("L8g34567", 0.2)]
)
def test_only_memory_reaches_the_optimum_where_the_goal_is_hidden(task, memoryless):
    world = spec(task).world()
    assert optimum(world) == 1
    assert best_memoryless(world) == pytest.approx(memoryless)


def test_goal_shows_first_and_the_robot_covers_it():
    world = spec("L8g23").world()
    state = placed(world, [2, 3])
    assert world.observe(state).tolist() == [[1, 0, 3, 0, 0, 0, 0, 0], [1, 0, 0, 3, 0, 0, 0, 0]]
    state, *_ = world.step(state, torch.tensor([ADVANCE, ADVANCE]))
    assert world.observe(state).tolist() == [[0, 1, 0, 0, 0, 0, 0, 0]] * 2
    world = spec("L8g23v").world()
    state = placed(world, [2, 3])
    for _ in range(2):
        state, *_ = world.step(state, torch.tensor([ADVANCE, ADVANCE]))
    assert world.observe(state).tolist() == [[0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 1, 3, 0, 0, 0, 0]]


def test_rewards_and_ends():
    world = spec("L8g67", reward_goal=5.0, reward_fail=-2.0, reward_move=-0.5).world()
    state = placed(world, [6, 7, 6])
    for _ in range(6):
        state, reward, terminated, _ = world.step(state, torch.tensor([ADVANCE] * 3))
        assert [reward.tolist(), terminated.any().item()] == [[-0.5] * 3, False]
    state, reward, terminated, truncated = world.step(state, torch.tensor([TRY, TRY, ADVANCE]))
    assert reward.tolist() == [5, -2, -0.5]
    assert terminated.tolist() == [True, True, False]
    state, reward, terminated, truncated = world.step(state, torch.tensor([ADVANCE] * 3))
    assert [reward[2].item(), terminated[2].item(), truncated.any().item()] == [-2, True, False]


def test_goals_are_drawn_alike_and_follow_the_seed():
    world = spec("L8g34567").world()
    world.seed(1)
    drawn = world.start(10_000)["goal"]
    counts = torch.bincount(drawn, minlength=8)
    assert counts[:3].tolist() == [0, 0, 0]
    assert ((counts[3:] - 2000).abs() < 4 * 40).all()  # standard deviation 40
    world.seed(1)
    assert torch.equal(world.start(10_000)["goal"], drawn)
    assert not torch.equal(world.start(10_000)["goal"], drawn)


@pytest.mark.parametrize("task", TASKS)
def test_environment_keeps_torchrls_contract(task):
    found = spec(task)
    env = found.build(EnvContext(3))
    check_env_specs(env, seed=0)
    assert found.spaces() == Spaces(observation_shape=(8,), observation_dtype=torch.uint8, n_actions=2)
    assert found.episode_limit() == 8
    assert {key: found.actions[action] for key, action in found.keys().items()} == {"d": "try", "f": "advance"}
    assert env.reset()[keys.OBSERVATION].shape == (3, 8)


def test_picture_and_text_follow_the_episode():
    world = spec("L8g23").world()
    state, sizes, events = placed(world, [2]), set(), []
    assert rendering.text(world, state, 0).splitlines() == [">.G.....   10300000", "time 0 of 8"]
    assert (rendering.picture(world, state, 0) == CELLS["G"]).all(-1).any()
    for action in (ADVANCE, ADVANCE, TRY):
        state, *_ = world.step(state, torch.tensor([action]))
        picture = rendering.picture(world, state, 0)
        assert not (picture == CELLS["G"]).all(-1).any()
        sizes.add(picture.shape)
        events += [event for event, colour in ROBOT.items() if (picture == colour).all(-1).any()]
    assert events == [NOTHING, NOTHING, FOUND]
    assert rendering.text(world, state, 0).splitlines() == ["..>.....   00100000", "time 3 of 8"]
    assert len(sizes) == 1
    assert all(edge % 2 == 0 for edge in sizes.pop()[:2])
    failed, *_ = world.step(placed(world, [2]), torch.tensor([TRY]))
    assert (rendering.picture(world, failed, 0) == ROBOT[HIT]).all(-1).any()


def test_who_walked_off_the_end_is_gone():
    world = Corridor(Task(length=3, goals=(2,)), device="cpu")
    state = world.start(1)
    for _ in range(3):
        state, _, terminated, _ = world.step(state, torch.tensor([ADVANCE]))
    assert terminated.item()
    assert world.observe(state).tolist() == [[0, 0, 0]]
    assert rendering.text(world, state, 0).splitlines() == ["...   000", "time 3 of 3"]
    assert rendering.picture(world, state, 0).dtype.name == "uint8"


@pytest.mark.parametrize(("length", "unit"), [(8, 48), (40, 48), (41, 46), (480, 4)])
def test_long_corridors_are_drawn_smaller(length, unit):
    world = spec("L8g67", length=length, goals=(2,), hidden_after=0).world()
    picture = rendering.picture(world, world.start(1), 0)
    height, width, _ = picture.shape
    assert [height % 2, width] == [0, unit * length]
    assert width <= 1920
    starts = {"robot": ROBOT[NOTHING], "goal": CELLS["G"]}
    places = {name: (picture == colour).all(-1).nonzero()[1] // unit for name, colour in starts.items()}
    assert {name: set(cells) for name, cells in places.items()} == {"robot": {0}, "goal": {2}}


def test_of_a_corridor_longer_than_a_picture_the_part_around_the_robot_is_drawn():
    world = spec("L8g67", length=2_000, goals=(1_999,), hidden_after=0).world()
    state = {**world.start(1), "position": torch.tensor([1_990])}
    drawn = rendering.picture(world, state, 0)
    assert drawn.shape[1] == 1920
    robot = (drawn == ROBOT[NOTHING]).all(-1).nonzero()[1] // 4
    assert set(robot) == {470}  # of the last 480 cells


def test_the_view_stands_below_a_long_corridor():
    for length, rows in ((38, 2), (39, 3)):
        world = spec("L8g67", length=length).world()
        lines = rendering.text(world, world.start(1), 0).splitlines()
        assert len(lines) == rows
        assert max(map(len, lines)) <= 80
        assert [lines[0][0], lines[-2][-length]] == [">", "1"]


def test_a_corridor_is_not_endless():
    with pytest.raises(ValidationError, match="less than or equal to 100000"):
        spec("L8g67", length=100_001)


def test_the_docs_have_todays_picture(tmp_path):
    write_all(tmp_path)
    ours, theirs = (cv2.imread(str(folder / "corridor.png")) for folder in (tmp_path, DOCS))
    assert (ours == theirs).all()
    for colour in (ROBOT[NOTHING], ROBOT[FOUND], CELLS["G"]):
        assert (ours[..., ::-1] == colour).all(-1).any()


def test_overrides_make_a_corridor_of_ones_own():
    found = spec("L8g67", length=20, goals=(18, 19), start=4, hidden_after=3)
    assert found.rules == Task(length=20, goals=(18, 19), start=4, hidden_after=3)
    assert found.episode_limit() == 16
    world, shown = found.world(), []
    state = world.start(1)
    for _ in range(5):
        shown.append(bool((world.observe(state) == 3).any()))
        state, *_ = world.step(state, torch.tensor([ADVANCE]))
    assert shown == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goals": (8,)}, r"env.goals=\[8\] must list cells from env.start=0 to 7"),
        ({"goals": ()}, r"env.goals=\[\] must list cells"),
        ({"start": 7}, r"env.goals=\[6, 7\] must list cells from env.start=7 to 7"),
        ({"start": 8}, "env.start=8 must be smaller than env.length=8"),
        ({"length": 7}, r"env.goals=\[6, 7\] must list cells from env.start=0 to 6"),
    ],
)
def test_goals_out_of_reach_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        spec("L8g67", **changes).spaces()
