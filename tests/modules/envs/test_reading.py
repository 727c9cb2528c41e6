"""Observations and actions of every kind: against Gymnasium's own flattening, and by hand."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Text, Tuple
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs.base import EnvContext
from modules.spec import UsageError
from tests.modules.envs.anything import IMAGE, any_spec, seen_and_shown, singles

FLOATS, BYTES = torch.float32, torch.uint8


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Discrete(5), 5),
        (Discrete(4, start=-2), 4),
        (MultiBinary(3), 3),
        (MultiBinary((2, 2)), 4),
        (MultiDiscrete([2, 3]), 5),
        (MultiDiscrete([[2, 3], [4, 2]], start=[[1, 1], [0, 0]]), 11),
        (Tuple((Discrete(3), Box(-1, 1, (2,)))), 5),
        (Dict({"z": Discrete(2), "a": Box(-np.inf, np.inf, (2, 2), np.float64), "m": MultiBinary(2)}), 8),
        (Dict({"inner": Dict({"one": Discrete(2), "two": Tuple((Discrete(3),))}), "n": Box(0, 9, (1,), np.int64)}), 6),
    ],
    ids=str,
)
def test_everything_that_is_numbers_becomes_one_vector_in_the_spaces_own_order(space, size):
    spec = any_spec(space)
    spaces = spec.spaces()
    assert (spaces.observation_shape, spaces.observation_dtype) == ((size,), FLOATS)
    different = set()
    for seen, shown in seen_and_shown(spec):
        expected = np.stack([gymnasium.spaces.flatten(space, one) for one in shown]).astype(np.float32)
        assert seen.dtype == FLOATS
        np.testing.assert_array_equal(seen.numpy(), expected)
        different |= {row.tobytes() for row in expected}
    assert len(different) > 2
    env = spec.build(EnvContext(2))
    check_env_specs(env, seed=0)


@pytest.mark.parametrize(
    ("space", "shape", "axes"),
    [
        (IMAGE, (3, 16, 12), (2, 0, 1)),
        (Box(0, 9, (7, 7, 3), np.uint8), (3, 7, 7), (2, 0, 1)),
        (Box(0, 255, (52, 48, 12), np.uint8), (12, 52, 48), (2, 0, 1)),
        (Box(0, 255, (3, 12, 13), np.uint8), (3, 12, 13), (0, 1, 2)),
        (Box(0, 1, (5, 5, 4), np.uint8), (5, 5, 4), (0, 1, 2)),
        (Box(0, 1, (5, 5, 4), np.bool_), (5, 5, 4), (0, 1, 2)),
        (Box(0, 255, (6, 5), np.uint8), (1, 6, 5), None),
        (Box(0, 3, (6, 5), np.uint8), (6, 5), (0, 1)),
        (Box(0, 255, (9,), np.uint8), (9,), (0,)),
        (Box(0, 255, (2, 6, 5, 3), np.uint8), (180,), None),
        (Box(0, 1, (6, 5, 3), np.float32), (6, 5, 3), (0, 1, 2)),
        (Box(-(2**24), 2**24, (4,), np.int32), (4,), (0,)),
        (Box(-np.inf, np.inf, (4, 2), np.float16), (4, 2), (0, 1)),
        (Box(-5, 5, (), np.float64), (1,), None),
    ],
    ids=str,
)
def test_a_box_of_any_type_and_shape_is_shown_number_for_number(space, shape, axes):
    spec = any_spec(space)
    spaces = spec.spaces()
    kind = BYTES if space.dtype in (np.uint8, np.bool_) else FLOATS
    assert (spaces.observation_shape, spaces.observation_dtype) == (shape, kind)
    for seen, shown in seen_and_shown(spec):
        expected = np.stack([np.transpose(one, axes) if axes else np.reshape(one, shape) for one in shown])
        assert (seen.dtype, seen.is_contiguous()) == (kind, True)
        np.testing.assert_array_equal(seen.numpy(), expected.astype(np.float32) if kind == FLOATS else expected)


@pytest.mark.parametrize(
    "shape",
    [(17, 8, 8), (9, 9, 30), (12, 9, 8), (6, 7, 18), (25, 20, 10), (5, 5, 5), (9, 4, 3), (40, 6, 2), (2, 5, 30)],
)
def test_an_image_whose_order_its_shape_does_not_tell_is_read_as_the_setting_says(shape):
    space = Box(0, 255, shape, np.uint8)
    with pytest.raises(UsageError, match=r"^env.channels: .*Any-v0.*: say env.channels=first or env.channels=last$"):
        any_spec(space).spaces()
    a, b, c = shape
    for channels, seen_shape, axes in (("first", shape, (0, 1, 2)), ("last", (c, a, b), (2, 0, 1))):
        spec = any_spec(space, channels=channels)
        assert spec.spaces().observation_shape == seen_shape
        for seen, shown in seen_and_shown(spec):
            np.testing.assert_array_equal(seen.numpy(), np.stack([np.transpose(one, axes) for one in shown]))
    assert any_spec(IMAGE, channels="first").spaces().observation_shape == (16, 12, 3)  # whatever the shape tells


@pytest.mark.parametrize(
    "space", [Box(0, 1, (4,)), Box(0, 1, (9, 8, 7, 6)), Box(0, 255, (9, 8), np.uint8), Discrete(3)]
)
def test_where_channels_are_is_a_question_about_images_and_grids_only(space):
    with pytest.raises(UsageError, match=r"^env.channels=last is for images and grids .* observation of Any-v0 is "):
        any_spec(space, channels="last").spaces()


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (Dict({}), "observation of Any-v0 is an empty Dict"),
        (Tuple(()), "observation of Any-v0 is an empty Tuple"),
        (Dict({"a": Discrete(2), "b": Dict({"c": Tuple(())})}), "observation['b']['c'] of Any-v0 is an empty Tuple"),
        (Box(0, 1, (0,)), "the observation of Any-v0 is empty, Box"),
        (Box(0, 255, (0, 4, 4), np.uint8), "the observation of Any-v0 is empty, Box"),
        (Tuple((Box(0, 1, (3, 0)), MultiDiscrete([]))), "the observation of Any-v0 is empty, Tuple"),
        (Discrete(2**33), "observation of Any-v0, Discrete(8589934592), makes a vector of 8589934592 entries"),
        (Dict({"id": Discrete(10**7, start=-5)}), "observation['id'] of Any-v0, Discrete(10000000, start=-5), makes"),
        (Tuple((Discrete(2), MultiDiscrete([2**62] * 3))), "makes a vector of 13835058055282163712 entries"),
        (MultiBinary(2**30), "observation of Any-v0, MultiBinary(1073741824), makes"),
    ],
    ids=str,
)
def test_nothing_to_see_and_far_too_much_are_one_sentence(space, said):
    with pytest.raises(UsageError) as refused:
        any_spec(space).spaces()
    assert str(refused.value).startswith("env.id: ")
    assert said in str(refused.value)


def test_keep_selects_from_the_vector_that_a_dict_becomes():
    spec = replace(any_spec(Dict({"a": Discrete(3), "b": Box(5, 6, (1,))})), keep=(3,))
    assert spec.spaces().observation_shape == (1,)
    for seen, shown in seen_and_shown(spec):
        assert seen.flatten().tolist() == [one["b"].item() for one in shown]


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (MultiDiscrete([2, 3]), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]),
        (MultiDiscrete([2, 2], start=[1, 5]), [[1, 5], [1, 6], [2, 5], [2, 6]]),
        (MultiBinary(2), [[0, 0], [0, 1], [1, 0], [1, 1]]),
    ],
    ids=str,
)
def test_few_combinations_of_actions_are_numbered_the_last_entry_fastest(actions, expected):
    spec = any_spec(Box(0, 1, (2,)), actions=actions)
    assert spec.spaces().n_actions == len(expected)
    env = spec.build(EnvContext(len(expected)))
    env.step(env.reset().set(keys.ACTION, torch.arange(len(expected))))
    taken = [single.taken[0] for single in singles(env)]
    assert [action.tolist() for action in taken] == expected
    assert all(actions.contains(action) for action in taken)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Text(5), "observation of Any-v0 is a Text"),
        (Dict({"a": Discrete(2), "mission": Text(5)}), "observation['mission'] of Any-v0 is a Text"),
        (Dict({"in": Tuple((Discrete(2), Sequence(Discrete(2))))}), "observation['in'][1] of Any-v0 is a Sequence"),
        (Graph(Box(0, 1, (1,)), None), "observation of Any-v0 is a Graph"),
        (Tuple((OneOf((Discrete(2), Discrete(3))),)), "observation[0] of Any-v0 is a OneOf"),
    ],
    ids=["text", "text in a dict", "sequence", "graph", "one of"],
)
def test_what_is_no_array_is_named_with_what_could_be_done(seen, said):
    with pytest.raises(UsageError) as refused:
        any_spec(seen).spaces()
    assert str(refused.value).startswith(f"env.id: {said}")
    assert "env.wrappers=[my_file:MyWrapper]" in str(refused.value)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (Box(-1, 1, (2,)), "are continuous .*offer a few of them by a wrapper .*SAC or PPO"),
        (MultiDiscrete([16, 17]), "have 272 combinations, .*up to 256: offer fewer by a wrapper"),
        (MultiBinary(9), "have 512 combinations"),
        (MultiBinary(2**40), "have far too many combinations"),
        (MultiDiscrete([9] * 9000), "have far too many combinations"),
        (MultiDiscrete([]), "has no actions, MultiDiscrete"),
        (Discrete(2**40), "Any-v0 has 1099511627776 actions, .* up to 1048576: offer fewer"),
        (Discrete(2, start=1), "counted from 0, but Any-v0 has Discrete"),
        (Dict({"a": Discrete(2)}), "counted from 0, but Any-v0 has Dict"),
    ],
    ids=lambda it: str(it)[:40],
)
def test_actions_that_cannot_be_chosen_from_are_refused(actions, said):
    with pytest.raises(UsageError, match=said):
        any_spec(Box(0, 1, (2,)), actions=actions).spaces()
