from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from modules.envs import rendering
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.rendering.drawing import CELLS, FREE, INK, ROBOT
from modules.envs.rendering.tour import PANEL, read, write_all
from modules.envs.worlds.tour import Tour, TourSpec
from modules.envs.worlds.tour_tasks import TASKS
from modules.envs.worlds.world import FOUND, HIT, NOTHING
from modules.spec import UsageError
from tests.modules.builders import gym_spec

DOCS = Path(__file__).resolve().parents[3] / "docs" / "tasks"
FORWARD, LEFT, RIGHT = 0, 1, 2


def tour(task):
    return Tour(TASKS[task], "original", timeout_replaces=True, device="cpu")


def played(world, *actions, n=1):
    """The state of `n` robots after these actions."""
    state = world.start(n)
    for action in actions:
        state, *_ = world.step(state, torch.full((n,), action))
    return state


def cell(picture, x, y, size, panel=0):
    """The colour near a cell's corner, where no robot is drawn."""
    unit = PANEL // size
    left = panel * (PANEL + 12) + (PANEL - unit * size) // 2
    return tuple(picture[(PANEL - unit * size) // 2 + y * unit + 1, left + x * unit + 1])


def disc(picture, x, y, size, heading, panel=0):
    """The robot's colour, and whether its mark points to `heading`."""
    unit = PANEL // size
    cx, cy = panel * (PANEL + 12) + x * unit + unit // 2, y * unit + unit // 2
    dx, dy = [(0, -1), (-1, 0), (0, 1), (1, 0)][heading]
    far = unit // 4
    assert tuple(picture[cy + dy * far, cx + dx * far]) == INK
    return tuple(picture[cy - dy * far, cx - dx * far])


def test_text_shows_the_map_beside_the_window():
    """Left goal visited and back at the start; the agent sees no difference between the two goals."""
    world = tour("tmaze_both")
    assert rendering.text(world, played(world, FORWARD, FORWARD, LEFT, FORWARD, FORWARD), 0).splitlines() == [
        "#####   #######",
        "g...G   #G...G#",
        "##.##   ###.###",
        "##^##   ###^###",
        "#####   #######",
        "        #######",
        "        #######",
        "time 5 of 20, goals left 1",
    ]


def test_text_turns_the_window_with_the_robot_and_forgets_erased_goals():
    world = tour("silent_ruin")  # by the right column and the top row onto the upper goal, looking left
    way = (FORWARD, LEFT, FORWARD, RIGHT, FORWARD, FORWARD, FORWARD, LEFT, FORWARD)
    assert rendering.text(world, played(world, *way), 0).splitlines() == [
        "##<..   ..###",
        ".#..#   G####",
        ".G..#   ..^##",
        "###..   ...##",
        "#....   ##.##",
        "time 9 of 25, goals left 1",
    ]
    assert rendering.text(world, played(world, *way, FORWARD, LEFT, LEFT, FORWARD), 0).splitlines()[0][:5] == "##.>."


def test_hidden_goals_show_nowhere():
    world = tour("tmaze_either")
    before, after = played(world, FORWARD), played(world, FORWARD, LEFT)
    assert "G" in rendering.text(world, before, 0)
    assert not {"G", "g"} & set(rendering.text(world, after, 0).splitlines()[0])
    field, _, views = read(world, after)
    assert not any((grid == "G").any() for grid in (field, *views))
    drawn = rendering.picture(world, after, 0).reshape(-1, 3)
    assert not (drawn == CELLS["G"]).all(1).any()
    assert (rendering.picture(world, before, 0).reshape(-1, 3) == CELLS["G"]).all(1).any()


def test_picture_tells_walls_goals_and_visited_goals_apart():
    world = tour("tmaze_both")
    picture = rendering.picture(world, played(world, FORWARD, FORWARD, LEFT, FORWARD, FORWARD), 0)
    assert [cell(picture, x, 1, 5) for x in (0, 1, 4)] == [CELLS["g"], FREE, CELLS["G"]]
    assert cell(picture, 0, 0, 5) == CELLS["#"]
    # The agent's window: goals, both alike, then walls; the two panels do not mix.
    assert [cell(picture, x, 1, 7, panel=1) for x in (0, 1, 3, 5)] == [FREE, CELLS["G"], FREE, CELLS["G"]]
    assert [cell(picture, x, 1, 7, panel=2) for x in (0, 1, 3, 5)] == [CELLS["#"], FREE, FREE, FREE]


@pytest.mark.parametrize(
    ("actions", "event", "at", "heading"),
    [
        ((), NOTHING, (2, 3), 0),
        ((FORWARD, LEFT), NOTHING, (2, 2), 1),
        ((RIGHT,), NOTHING, (2, 3), 3),
        ((LEFT, LEFT, FORWARD), HIT, (2, 3), 2),
        ((LEFT,) * 20, HIT, (2, 3), 0),  # out of time
        ((FORWARD, FORWARD, LEFT, FORWARD, FORWARD), FOUND, (2, 3), 0),
    ],
)
def test_the_robots_colour_is_what_it_just_did(actions, event, at, heading):
    world = tour("tmaze_both")
    picture = rendering.picture(world, played(world, *actions), 0)
    assert disc(picture, *at, 5, heading) == ROBOT[event]
    assert disc(picture, 3, 3, 7, 0, panel=1) == ROBOT[event]  # in the window it always looks up


@pytest.mark.parametrize("task", TASKS)
def test_every_episode_has_pictures_of_one_even_size(task):
    world = tour(task)
    torch.manual_seed(0)
    state, sizes = world.start(3), set()
    for _ in range(12):
        sizes |= {rendering.picture(world, state, n).shape for n in range(3)}
        rendering.text(world, state, 0)
        state, *_ = world.step(state, torch.randint(3, (3,)))
    assert len(sizes) == 1
    height, width, colours = sizes.pop()
    assert [height % 2, width % 2, colours] == [0, 0, 3]
    assert rendering.picture(world, state, 0).dtype == np.uint8


def test_field_that_is_no_square_and_larger_than_a_panel():
    rows = ("S.", *[".."] * 198, ".G")
    world = TourSpec(**(settings("tmaze_both") | {"maps": (rows,), "sight": 1})).world()
    picture = rendering.picture(world, world.start(1), 0)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert (picture == CELLS["G"]).all(-1).any()
    assert rendering.text(world, world.start(1), 0).splitlines()[0] == "^.   ###"


def test_each_episode_has_its_own_picture():
    world = tour("many_swamp")
    state = world.start(2)
    assert rendering.text(world, state, 0) != rendering.text(world, state, 1)
    assert (rendering.picture(world, state, 0) != rendering.picture(world, state, 1)).any()


def settings(task):
    names = [field.name for field in fields(TourSpec)]
    return dict.fromkeys(names) | UNCHANGED | {"task": task, "layout": "original", "timeout": "original"}


def test_environments_show_their_first_episode():
    spec = TourSpec(**settings("many_swamp"))
    env = spec.build(EnvContext(2))
    env.set_seed(1)
    env.reset()
    base = env.base_env
    assert spec.text(env) == rendering.text(base.world, base.state, 0)
    np.testing.assert_array_equal(spec.picture(env), rendering.picture(base.world, base.state, 0))


def test_other_environments_have_no_text():
    spec = gym_spec("CartPole-v1")
    with pytest.raises(UsageError, match="no text view; use video=true"):
        spec.text(spec.build(EnvContext(1)))


def test_docs_have_todays_pictures(tmp_path):
    write_all(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == set(TASKS)
    for task in TASKS:
        ours, theirs = (cv2.imread(str(folder / f"{task}.png")) for folder in (tmp_path, DOCS))
        np.testing.assert_array_equal(ours, theirs, err_msg="run python -m modules.envs.rendering.tour")
