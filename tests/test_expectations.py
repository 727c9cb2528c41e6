"""docs/expectations.md: our commands are sound, and every row says where ours is."""

import re
from pathlib import Path

import pytest

from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_jobs
from pipelines.config.schema import read
from pipelines.export import DEFAULTS

PAGE = (Path(__file__).parents[1] / "docs" / "expectations.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
COMMANDS = re.findall(r"`recall (\w+) (\+?\w[^`]*|-m [^`]+)`", PAGE)


def test_rows_are_whole():
    heads, *rows = ROWS
    assert heads[-2:] == ["Recall", "here"]
    assert 15 <= len(rows) <= 30
    for row in rows:
        assert len(row) == len(heads), row
        *_, ours, where = row
        assert ours.startswith("no") or re.match(r"`recall |\[", where), row


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_commands_are_sound(command, words):
    given = words.split()
    if command == "train":
        jobs = compose_jobs([word for word in given if word != "-m"])
        for config, _ in jobs:
            refuse_misfits(read(config))
        assert (len(jobs) > 1) == ("-m" in given)
    elif command == "export":
        assert {word.partition("=")[0] for word in given} <= {"run", *DEFAULTS}
    else:
        assert (Path(__file__).parents[1] / "pipelines" / f"{command}.py").is_file()


def test_there_are_such_commands():
    assert {"train", "export", "report", "resume"} == {command for command, _ in COMMANDS}
    assert len(COMMANDS) >= 10
