"""docs/your_own_environment.md, to the letter: its files and commands, in a folder outside the repository."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.pipelines.launch import ROOT, Ended, run
from tests.roads.page import SMALL, TRAIN, File, Line, in_this_folder, steps, walk

NAME = "your_own_environment"
FILES = {step.name: step.text for step in steps(NAME) if isinstance(step, File)}
LINES = [step.text for step in steps(NAME) if isinstance(step, Line)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("elsewhere") / "mine"
    place.mkdir()
    assert not place.is_relative_to(ROOT)
    return place


@pytest.fixture(scope="module")
def ended(place) -> dict[str, Ended]:
    """How each line of the page ended, in its order."""
    return walk(NAME, place, small=True)


def lines_with(*words: str) -> list[str]:
    return [line for line in LINES if all(word in shlex.split(line) for word in words)]


def test_the_page_has_what_it_promises():
    assert set(FILES) == {"signpost.py", "torques.py"}
    assert "".join(FILES.values()).count("\n") < 60
    for words in (("-c",), ("dry=true",), ("algo=dqn",), ("algo=drqn",), ("+exp=agent57_cartpole",), ("video=true",)):
        assert lines_with(*words), words


@pytest.mark.parametrize("line", LINES)
def test_every_command_ends_well(line, ended):
    assert ended[line].code == 0, ended[line]
    assert "Traceback" not in ended[line].err
    assert "Warn" not in ended[line].err


def test_runs_learned_on_the_environment_of_the_page(ended, place):
    runs = {"dqn": "none", "drqn": "lstm", "agent57": "lstm"}
    for name, memory in runs.items():
        summary = json.loads((place / "runs" / name / "summary.json").read_text())
        assert [summary["status"], summary["memory"], summary["exp"]] == ["finished", memory, f"signpost_{name}"]
        assert summary["updates"] > 3
        assert summary["episodes"] == 100
        assert abs(summary["score"]) <= 1
        assert [*(place / "runs" / name / "videos").glob("*.mp4")]
    pendulum = json.loads((place / "runs" / "pendulum" / "summary.json").read_text())
    assert pendulum["score"] < -5


def test_evaluation_film_and_play_show_the_environment(ended, place):
    evaluation = json.loads((place / "runs" / "drqn" / "evaluation.json").read_text())
    assert [evaluation["episodes"], evaluation["length_mean"]] == [100, 6]
    assert set(evaluation["returns"]) <= {-1.0, 1.0}
    assert (place / "runs" / "drqn" / "videos" / "evaluation_best.mp4").stat().st_size > 1000
    (shown,) = lines_with("view=text")
    assert re.search(r"sign [12], walked 0 of 5\n\nsign 0, walked 1 of 5\naction [01], reward 0", ended[shown].out)
    (played,) = lines_with("pipelines.play")
    assert re.match(r"sign [12], walked 0 of 5\n0, 1; q quits", ended[played].out)


def test_a_worker_process_finds_the_file_too(ended, place):
    words = [word for word in shlex.split(lines_with("algo=drqn")[0])[3:] if not word.startswith("hydra.run.dir")]
    words += [SMALL, "collector=multi_async", "collector.processes=1", "video=false", "total_frames=200"]
    words += ["hydra.run.dir=runs/workers"]
    done = run(TRAIN, *words, cwd=place, before=in_this_folder)
    assert done.code == 0, done.err
    assert json.loads((place / "runs" / "workers" / "summary.json").read_text())["frames"] == 200


def test_from_another_folder_one_sentence_says_where_to_be(ended, place, tmp_path):
    done = run("pipelines.evaluate", f"run={place / 'runs' / 'drqn'}", cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("error: env.id: there is no module 'signpost', neither in the current folder nor among")
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_the_table_of_the_page_is_true(tmp_path):
    """The commands with their whole budgets: one minute."""
    for line, how in walk(NAME, tmp_path).items():
        assert how.code == 0, (line, how)
    scores = {
        name: json.loads((tmp_path / "runs" / name / "summary.json").read_text())["score"]
        for name in ("dqn", "drqn", "agent57")
    }
    assert abs(scores["dqn"]) < 0.3  # guesses
    assert min(scores["drqn"], scores["agent57"]) >= 0.99
    assert json.loads((tmp_path / "runs" / "drqn" / "evaluation.json").read_text())["mean"] >= 0.99
