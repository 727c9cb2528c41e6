"""The tests' own way to start processes: a busy machine makes no test fail, a process that hangs does."""

import time

import pytest

from tests.pipelines import launch
from tests.pipelines.launch import Patience, run


def wait_long() -> None:
    """Be as slow as on a machine that has other things to do: now and then a little is done."""
    for _ in range(25):
        time.sleep(0.1)
        sum(range(300_000))


def hang() -> None:
    time.sleep(60)


def spin() -> None:
    while True:
        pass


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(launch, "LIMIT_S", 2)


def test_what_takes_long_by_the_clock_is_waited_for(tmp_path):
    begun = time.monotonic()
    assert run("json.tool", "--help", cwd=tmp_path, before=wait_long).code == 0
    assert time.monotonic() - begun > 2.5


@pytest.mark.parametrize(
    ("before", "says"), [(hang, "has done nothing for 2 s"), (spin, "still runs after 2 s of processor time")]
)
def test_what_hangs_is_ended(before, says, tmp_path):
    with pytest.raises(TimeoutError, match=says):
        run("json.tool", "--help", cwd=tmp_path, before=before)


def test_a_process_that_is_gone_needs_no_patience():
    assert Patience(2**22 + 1).ended() == ""
