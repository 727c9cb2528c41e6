from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from modules.spec import Spec, spec


@spec
class Settings(Spec):
    count: Annotated[int, Field(gt=0)]
    goal: float | None
    pairs: tuple[tuple[int, float], ...]
    flag: bool
    either: bool | int
    free: dict[str, Any]


GOOD = {"count": 1, "goal": None, "pairs": ((1, 2.0),), "flag": True, "either": True, "free": {"x": True}}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"count": True}, ("count",)),
        ({"goal": True}, ("goal",)),
        ({"goal": False}, ("goal",)),
        ({"pairs": ((1, 2.0), (True, 2.0))}, ("pairs", 1, 0)),
        ({"pairs": ((1, False),)}, ("pairs", 0, 1)),
    ],
)
def test_a_boolean_is_no_number(changes, place):
    with pytest.raises(ValidationError) as refused:
        Settings(**(GOOD | changes))
    assert [(error["loc"], error["msg"]) for error in refused.value.errors()] == [(place, "Input should be a number")]


def test_an_error_in_one_of_several_types_names_them_as_pydantic_does():
    @spec
    class Goal(Spec):
        goal: float | Literal["keep"]

    with pytest.raises(ValidationError) as refused:
        Goal(goal=True)  # pyright: ignore[reportArgumentType]
    assert [error["loc"] for error in refused.value.errors()] == [("goal", "float"), ("goal", "literal['keep']")]
    assert [Goal(goal=2).goal, Goal(goal="keep").goal] == [2.0, "keep"]


def test_numbers_are_numbers_and_booleans_stay_where_they_belong():
    made = Settings(**(GOOD | {"goal": 2}))
    assert [type(made.count), type(made.goal), made.pairs] == [int, float, ((1, 2.0),)]
    assert [made.flag, made.either, made.free] == [True, True, {"x": True}]
    assert type(Settings(**(GOOD | {"either": 1})).either) is int


def test_ranges_hold_as_before():
    for count, kind in ((0, "greater_than"), ("a", "int_parsing"), (1.5, "int_from_float")):
        with pytest.raises(ValidationError) as refused:
            Settings(**(GOOD | {"count": count}))
        assert [error["type"] for error in refused.value.errors()] == [kind]
