from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from modules.envs import rendering
from modules.envs.rendering import explore as explore_picture
from modules.envs.rendering.drawing import ROBOT
from modules.envs.worlds.explore import SPECS
from modules.envs.worlds.world import FOUND, HIT
from tests.modules.envs.test_explore import DOWN, RIGHT, chain, coin, corridor, sea

DOCS = Path(__file__).resolve().parents[3] / "docs" / "tasks"


@pytest.mark.parametrize(
    ("spec", "actions", "event"),
    [
        (corridor(3, 9, None), (1, 1, 1), FOUND),
        (corridor(3, 3, None), (1, 1, 0), HIT),
        (corridor(500, 500), (0,), None),
        (sea(3), (0, 0, 0), HIT),
        (sea(100), (0,), None),
        (coin(5), (RIGHT, DOWN), None),
        (chain(), (1, 0, 0), FOUND),
    ],
)
def test_pictures_have_one_even_size_and_say_how_it_went(spec, actions, event):
    world = spec.world()
    state, sizes = world.start(1), set()
    for action in actions:
        sizes.add(rendering.picture(world, state, 0).shape)
        state, *_ = world.step(state, torch.tensor([action]))
    drawn = rendering.picture(world, state, 0)
    assert {drawn.shape} == sizes
    assert [drawn.dtype, drawn.shape[0] % 2, drawn.shape[1] % 2] == [np.uint8, 0, 0]
    assert max(drawn.shape) <= 1050
    for colour in (FOUND, HIT):
        assert (drawn == ROBOT[colour]).all(-1).any() == (colour == event)


def test_texts():
    world = corridor(4, 9, None).world()
    state = world.start(1)
    assert rendering.text(world, state, 0) == ">...G\ntime 0 of 9"
    for action in (1, 1, 1, 1):
        state, *_ = world.step(state, torch.tensor([action]))
    assert rendering.text(world, state, 0) == "....>\ntime 4 of 9, found"
    world = sea(2).world()
    assert rendering.text(world, world.start(1), 0) == "v#\n.G\n##\ntime 0 of 2"
    world = coin(2, 2).world()
    state = {**world.start(1), "place": torch.tensor([0]), "coin": torch.tensor([3])}
    assert rendering.text(world, state, 0) == "^.\n.G\ntime 0 of 2"
    state, *_ = world.step(*[state, torch.tensor([1])])
    assert rendering.text(world, world.step(state, torch.tensor([1]))[0], 0).endswith("time 2 of 2, over")


def test_the_text_of_a_wide_map_follows_the_robot():
    world = corridor(100, 200).world()
    for place, line in ((0, ">" + "." * 79), (50, "." * 40 + ">" + "." * 39), (100, "." * 79 + ">")):
        state = {**world.start(1), "place": torch.tensor([place])}
        assert rendering.text(world, state, 0).splitlines()[0] == line
    lines = rendering.text(chain(0).world(), chain(0).world().start(1), 0).splitlines()
    assert [line.find(mark) for line, mark in zip(lines, ">Ggggg", strict=False)] == [0, 1, 3, 10, 30, -1]
    assert lines[-1] == "time 0 of 100"


def test_the_docs_have_a_picture_of_each_task(tmp_path):
    explore_picture.write_all(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(f"{name}.png" for name in SPECS)
    for name in names:
        assert (cv2.imread(str(tmp_path / name)) == cv2.imread(str(DOCS / name))).all()
