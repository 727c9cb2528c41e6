"""Bad input is refused with one sentence before anything exists, and docs/bad_input.md says so."""

from pathlib import Path

import pytest

from tests.pipelines import bad_input
from tests.pipelines.bad_commands import COMMANDS
from tests.pipelines.bad_input import Case
from tests.pipelines.launch import ROOT, command

WORDS = [(name, words) for name, table in COMMANDS.items() for words in table if not isinstance(words, str)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("bad") / "place"
    place.mkdir()
    bad_input.prepare(place)
    return place


@pytest.fixture(scope="module")
def found(place) -> dict[tuple, Case]:
    return {(case.command, case.words): case for case in bad_input.cases(place)}


@pytest.mark.parametrize(("name", "words"), WORDS, ids=[" ".join((name, *words)) for name, words in WORDS])
def test_bad_input_is_refused(name, words, found):
    case = found[name, words]
    assert case.ended.err.startswith("error: "), case.ended
    assert case.ended.err.count("\n") == 1, case.ended.err
    assert len(case.ended.err) > len("error: ") + 20
    assert case.ended.code == 2
    assert case.ended.out == ""
    assert not case.left, "something was created or changed"


def test_there_are_many_and_each_only_once():
    assert len(WORDS) == len(set(WORDS)) >= 40


def test_no_pickled_code_was_run(place, found):
    assert not list(place.rglob("EXPLODED"))


def test_the_page_is_current(found):
    page = (ROOT / "docs" / "bad_input.md").read_text()
    assert page == bad_input.markdown(list(found.values())), (
        "run python -m tests.pipelines.bad_input > docs/bad_input.md"
    )


def test_a_shell_sees_the_same(found, place):
    words = ("+exp=drqn_cartpole_masked", "optim.lr=0")
    ended = command("pipelines.train", *words, cwd=place)
    assert ended == found["train", words].ended
