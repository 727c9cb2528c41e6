"""Bad input is refused with one sentence before anything exists, and docs/bad_input.md says so."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cases import later
from tests.pipelines import bad_input
from tests.pipelines.launch import ROOT, Ended, command

EVERY = list(bad_input.every())
SOME_LATER = [each if i % 3 == 0 else later(*each) for i, each in enumerate(EVERY)]
PAGE = (ROOT / "docs" / "bad_input.md").read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("bad") / "place"
    place.mkdir()
    bad_input.prepare(place)
    return place


@pytest.mark.parametrize(("heading", "name", "words"), SOME_LATER, ids=[" ".join((name, *w)) for _, name, w in EVERY])
def test_bad_input_is_refused(heading, name, words, place):
    if "collector=ray" in words and find_spec("ray") is None:
        pytest.skip("says that Ray, an extra, is not installed")
    case = bad_input.case(place, heading, name, words)
    assert case.ended.err.startswith("error: "), case.ended
    assert case.ended.err.count("\n") == 1, case.ended.err
    assert len(case.ended.err) > len("error: ") + 20
    assert case.ended.code == 2
    assert case.ended.out == ""
    assert not case.left, "something was created or changed"
    assert case.row in PAGE.splitlines(), "run python -m tests.pipelines.bad_input > docs/bad_input.md"
    assert not list(place.rglob("EXPLODED")), "pickled code was run"


def test_there_are_many_and_each_only_once():
    assert len(EVERY) == len({each[1:] for each in EVERY}) >= 40


def test_the_page_has_them_in_their_order():
    nothing = Ended(0, "", "")
    cases = [bad_input.Case(Path(), *each, nothing, ()) for each in EVERY]
    expected, found = bad_input.markdown(cases).splitlines(), PAGE.splitlines()
    assert [typed(line) for line in found] == [typed(line) for line in expected]


def typed(line: str) -> str:
    """What stands in the first column, or the line if there are none."""
    return re.split(r"(?<!\\) \| ", line)[0]


def test_a_shell_sees_the_same(place):
    words = ("+exp=drqn_cartpole_masked", "optim.lr=0")
    ended = command("pipelines.train", *words, cwd=place)
    assert ended == bad_input.case(place, "", "train", words).ended
