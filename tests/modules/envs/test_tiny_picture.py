from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from modules.envs import rendering
from modules.envs.rendering import tiny as tiny_picture
from modules.envs.rendering.drawing import CELLS, ROBOT
from modules.envs.worlds.tiny import MemoryLenSpec
from modules.envs.worlds.world import FOUND, HIT, NOTHING
from tests.modules.envs.test_tiny import AHEAD, UP, cards, chain, hand, starts, tmaze

DOCS = Path(__file__).resolve().parents[3] / "docs" / "tasks"


@pytest.mark.parametrize(
    ("spec", "answers"),
    [(chain(3, bits=2), (0, 0, 0, 0)), (tmaze(3), (AHEAD, AHEAD, AHEAD, UP)), (cards(2, 6), (0, 1, 2, 3, 0, 1))],
)
def test_pictures_have_one_even_size_and_say_right_or_wrong(spec, answers):
    world = spec.world()
    for seed in range(4):
        world.seed(seed)
        state, sizes = world.start(1), set()
        for action in answers:
            picture = rendering.picture(world, state, 0)
            sizes.add(picture.shape)
            assert picture.dtype == np.uint8
            state, reward, *_ = world.step(state, torch.tensor([action]))
            event = NOTHING if reward == 0 and state["time"] < len(answers) else FOUND if reward > 0 else HIT
            drawn = rendering.picture(world, state, 0)
            for other in (FOUND, HIT):
                assert (drawn == ROBOT[other]).all(-1).any() == (other == event)
        sizes.add(rendering.picture(world, state, 0).shape)
        assert len(sizes) == 1
        height, width, _ = sizes.pop()
        assert height % 2 == width % 2 == 0
        assert max(height, width) <= 490


@pytest.mark.parametrize("spec", [chain(4), tmaze(3)])
def test_pictures_hide_what_must_be_remembered(spec):
    """After the cue two episodes that differ only in it look alike, in the picture and in the text, until the end."""
    world, state = starts(spec)
    assert (rendering.picture(world, state, 0) == CELLS["G"]).all(-1).any()
    for time in range(spec.length):
        hidden = time >= (2 if isinstance(spec, MemoryLenSpec) else 1)
        assert np.array_equal(rendering.picture(world, state, 0), rendering.picture(world, state, 1)) == hidden
        assert (rendering.text(world, state, 0) == rendering.text(world, state, 1)) == hidden
        state, *_ = world.step(state, torch.tensor([AHEAD, AHEAD]))


def test_texts():
    world = chain(2, bits=2).world()
    state = {**world.start(1), "bits": torch.tensor([[1, 0]]), "query": torch.tensor([1])}
    texts = []
    for action in (1, 1, 0):
        texts.append(rendering.text(world, state, 0))
        state, *_ = world.step(state, torch.tensor([action]))
    assert texts == ["+-\n\ntime 0 of 3", "+-\n\ntime 1 of 3", "..\n ^\ntime 2 of 3"]
    assert rendering.text(world, state, 0) == "..\n\ntime 3 of 3, right"
    world = tmaze(2).world()
    state = {**world.start(1), "goal": torch.tensor([1])}
    assert rendering.text(world, state, 0) == "##G\n>..\n##.\ntime 0 of 3"
    for action in (AHEAD, AHEAD, UP):
        state, *_ = world.step(state, torch.tensor([action]))
    assert rendering.text(world, state, 0) == "##>\n...\n##.\ntime 3 of 3, right"
    world = cards(1, 3).world()
    state = hand(world, [[1, 3, 0, 0]])
    assert rendering.text(world, state, 0) == "card D, said .\ntime 0 of 3"
    state, *_ = world.step(state, torch.tensor([2]))
    assert rendering.text(world, state, 0) == "card S, said H\ntime 1 of 3, wrong"


def test_the_docs_have_a_picture_of_each_task(tmp_path):
    tiny_picture.write_all(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["memory_len.png", "passive_tmaze.png", "repeat_previous.png"]
    for name in names:
        assert (cv2.imread(str(tmp_path / name)) == cv2.imread(str(DOCS / name))).all()
