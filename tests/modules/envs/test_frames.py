"""Frames of every kind become the same picture, or one sentence says what they are."""

import re

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.frames import rgb
from modules.envs.pixels import PixelsSpec
from modules.errors import BadValueError
from modules.spec import UsageError
from tests.modules.builders import FRAMES, gym_spec
from tests.modules.envs.anything import any_spec

BYTES = np.random.default_rng(0).integers(256, size=(6, 8, 3)).astype(np.uint8)
BINARY = np.where(BYTES[..., :1] > 127, 255, 0).astype(np.uint8)
GREY = BYTES[..., 0]
PAIR = Box(0, 1, (2,))


def alike(grey):
    return np.repeat(grey.reshape(6, 8, 1), 3, axis=2)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (BYTES, BYTES),
        (BYTES / 255, BYTES),
        ((BYTES / 255).astype(np.float32), BYTES),
        ((BYTES / 255).astype(np.float16), BYTES),
        (BYTES / 255 * (1 + 1e-6), BYTES),
        (BYTES.astype(np.int64), BYTES),
        (BYTES.astype(np.uint16), BYTES),
        (BYTES.tolist(), BYTES),
        (torch.from_numpy(BYTES), BYTES),
        (np.asfortranarray(BYTES), BYTES),
        (BYTES.transpose(2, 0, 1), BYTES),
        (BYTES.transpose(2, 0, 1) / 255, BYTES),
        (np.concatenate((BYTES, GREY[..., None]), 2), BYTES),
        (np.concatenate((BYTES, GREY[..., None]), 2).transpose(2, 0, 1), BYTES),
        (GREY, alike(GREY)),
        (GREY / 255, alike(GREY)),
        (GREY[..., None], alike(GREY)),
        (GREY[None], alike(GREY)),
        (BINARY[..., 0] > 0, alike(BINARY)),
        ((BINARY[..., 0] > 0).tolist(), alike(BINARY)),
        (np.zeros((2, 3)), np.zeros((2, 3, 3), np.uint8)),
        (BYTES[:3], BYTES[:3]),  # three rows, not three channels: Gymnasium has them last
    ],
    ids=lambda it: f"{type(it).__name__} {np.asarray(it).dtype} {np.shape(it)}",
)
def test_a_frame_of_any_kind_is_the_picture_that_it_shows(frame, expected):
    picture = rgb(frame, "Any-v0")
    assert (picture.dtype, picture.shape) == (np.uint8, expected.shape)
    assert picture.flags.c_contiguous or picture is frame
    assert np.abs(picture.astype(int) - expected).max() <= (1 if np.asarray(frame).dtype == np.float16 else 0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (None, "NoneType"),
        ("a text", "str"),
        ({"rgb": BYTES}, "dict"),
        ([BYTES, BYTES], "uint8 [2, 6, 8, 3] (a list)"),
        ([[1, 2], [3]], "list"),
        (np.zeros((6, 5, 2)), "float64 [6, 5, 2] with numbers from 0 to 0"),
        (np.zeros(7, np.uint8), "uint8 [7]"),
        (3.5, "float64 [] (a float)"),
        (np.zeros((0, 0, 3), np.uint8), "uint8 [0, 0, 3]"),
        (BYTES.astype(np.float32), "float32 [6, 8, 3] with numbers from 0 to 25"),
        (BYTES.astype(np.int16) - 1, "int16 [6, 8, 3] with numbers from -1"),
        (BYTES.astype(np.int32) * 256, "int32 [6, 8, 3]"),
        (np.full((2, 2), np.nan), "float64 [2, 2] with numbers from nan to nan"),
        (np.zeros((2, 2, 3), complex), "complex128 [2, 2, 3]"),
        (np.full((2, 2, 3), object()), "ndarray"),
    ],
    ids=lambda it: str(it)[:10],
)
def test_what_is_no_picture_is_named_with_type_and_shape(frame, said):
    with pytest.raises(
        BadValueError, match=rf"^env.id: Any-v0 renders {re.escape(said)}.*, of which no picture can be made"
    ):
        rgb(frame, "Any-v0")


def test_the_setting_decides_where_channels_are():
    assert rgb(BYTES[:3], "Any-v0", "first").shape == (8, 3, 3)
    assert rgb(BYTES[:, :4].transpose(2, 0, 1)[..., :3], "Any-v0", "last").shape == (3, 6, 3)
    for channels, frame in (("first", BYTES), ("last", BYTES.transpose(2, 0, 1))):
        with pytest.raises(BadValueError):
            rgb(frame, "Any-v0", channels)


@pytest.mark.parametrize(
    "frame", [BYTES / 255, BYTES.transpose(2, 0, 1), BYTES.tolist()], ids=["float", "first", "list"]
)
def test_films_and_those_who_see_pixels_get_the_picture(frame):
    spec = any_spec(PAIR, frames=[frame])
    env = spec.build(EnvContext(1, video=True))
    env.reset()
    np.testing.assert_array_equal(spec.picture(env), BYTES)
    settings = {"height": 6, "width": 8, "crop": (0.0, 1.0, 0.0, 1.0), "channels": None, **FRAMES}
    seen = [
        PixelsSpec(id="Any-v0", kwargs={"seen": PAIR, "frames": [it]}, **settings).build(EnvContext(1)).reset()
        for it in (frame, BYTES)
    ]
    assert torch.equal(*(td[keys.OBSERVATION] for td in seen))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"frames": [None]}, "because it renders NoneType, of which no picture"),
        ({"frames": [np.zeros((3, 2, 2))]}, None),
        ({"frames": [np.zeros((5, 2, 2))]}, r"because it renders float64 \[5, 2, 2\]"),
        ({"frames": []}, "because StopIteration"),
        *(({"frames": [BYTES], "fps": fps}, "it has .* in metadata.'render_fps'., but it must be a number .*, 0.01 or")
          for fps in ("fast", 0, -5, np.nan, np.inf, True, [30], 0.001)),
        *(({"frames": [BYTES], "fps": fps}, None) for fps in (None, 12.5, np.float32(7), np.int64(3), 1000)),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_filmed_is_told_before_training(more, said):
    class Filmed:
        video = True

    problems = list(any_spec(PAIR, **more).needs(Filmed()))
    if said is None:
        assert not problems
    else:
        (problem,) = problems
        assert re.match(rf"video=true: Any-v0 cannot be filmed, .*{said}.*; correct it or set video=false$", problem)


def test_films_are_as_slow_as_the_environment_asks_and_not_faster_than_usual():
    for fps, expected in ((None, 30), (12.5, 12.5), (np.int64(3), 3), (1000, 30)):
        assert any_spec(PAIR, fps=fps).video_fps() == expected
    assert gym_spec("CartPole-v1").film_problem() == ""
    assert "which Parity-v0 does not" in gym_spec("Parity-v0").film_problem()


def test_pixels_without_a_picture_end_in_one_sentence_before_and_while_acting():
    def seen(frames):
        settings = {"height": 2, "width": 2, "crop": (0.0, 1.0, 0.0, 1.0), "channels": None, **FRAMES}
        return PixelsSpec(id="Any-v0", kwargs={"seen": PAIR, "frames": frames}, **settings)

    with pytest.raises(UsageError, match=r"^env.id: Any-v0 renders list, of which no picture can be made"):
        seen([[[1], [2, 3]]]).spaces()
    with pytest.raises(UsageError, match=r"^env.id: the first reset or render of Any-v0 fails: StopIteration"):
        seen([]).spaces()
    env = seen([BYTES, None]).build(EnvContext(1))
    td = env.reset()
    with pytest.raises(BadValueError, match=r"^env.id: Any-v0 renders NoneType"):
        env.step(td.set(keys.ACTION, torch.zeros(1, dtype=torch.int64)))
