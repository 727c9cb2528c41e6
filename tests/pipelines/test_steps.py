"""`pipelines.evaluate steps=csv`: one row per step, and a picture of the first episodes."""

import contextlib
import csv
import json
import tempfile
from dataclasses import replace
from itertools import groupby

import matplotlib.image
import numpy as np
import pytest

from modules.evaluation import Step
from modules.keys import Spaces
from pipelines.agent.step_table import StepTable, recording_steps
from pipelines.evaluate import main
from tests.pipelines.saved_runs import MASKED, saved_kind, saved_run


def rows_of(run_dir):
    with (run_dir / "episodes.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def test_every_step_is_a_row_episode_after_episode(tmp_path, capsys):
    saved_kind(tmp_path, "lstm")
    assert main([f"run={tmp_path}", "episodes=40", "steps=csv"]) == 0
    assert capsys.readouterr().err == ""
    rows, result = rows_of(tmp_path), json.loads((tmp_path / "evaluation.json").read_text())
    assert list(rows[0]) == [
        *("episode", "step", "action", "reward", "terminated", "truncated", "observation_0", "observation_1"),
    ]
    found = {int(episode): [*group] for episode, group in groupby(rows, key=lambda row: row["episode"])}
    assert list(found) == list(range(40))
    assert [sum(float(row["reward"]) for row in group) for group in found.values()] == result["returns"]
    for group in found.values():
        assert [int(row["step"]) for row in group] == list(range(len(group)))
        assert [row["terminated"] for row in group] == ["0"] * (len(group) - 1) + ["1"]
        assert {row["truncated"] for row in group} == {"0"}
    assert {row["action"] for row in rows} == {"0", "1"}
    angles = [np.float32(row["observation_1"]) for row in rows]
    assert max(map(abs, angles)) < 0.21  # beyond it an episode is over
    assert len(set(angles)) > len(rows) / 2
    picture = matplotlib.image.imread(tmp_path / "episodes.png")
    assert min(picture.shape[:2]) > 300
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.yaml", "checkpoints", "evaluation.json", "episodes.csv", "episodes.png"),
    }


def test_without_the_setting_nothing_of_it_is_written(tmp_path):
    saved_run(tmp_path, MASKED)
    assert main([f"run={tmp_path}", "episodes=1"]) == 0
    assert not list(tmp_path.glob("episodes.*"))


def test_an_image_has_no_columns_and_the_command_says_so(tmp_path, caplog):
    image = Spaces(observation_shape=(1, 20, 160), observation_dtype=np.uint8, n_actions=2)  # type: ignore[arg-type]
    with recording_steps(tmp_path, image) as callbacks:
        for callback in callbacks:
            tell(callback, [(0, 2)], shape=(1, 20, 160))
    assert list(rows_of(tmp_path)[0]) == ["episode", "step", "action", "reward", "terminated", "truncated"]
    assert not (tmp_path / "episodes.png").exists()
    assert [record.message for record in caplog.records] == [
        f"observations [1, 20, 160] have 3200 numbers, too many for {what}"
        for what in ("columns of their own in episodes.csv (up to 64)", "a picture episodes.png (up to 8)")
    ]


def test_an_evaluation_that_fails_leaves_the_table_of_the_one_before(tmp_path):
    (tmp_path / "episodes.csv").write_text("before")
    spaces = Spaces(observation_shape=(1,), observation_dtype=np.float32, n_actions=2)  # type: ignore[arg-type]

    def broken():
        with recording_steps(tmp_path, spaces) as (table, _):
            tell(table, [(0, 2)])
            raise RuntimeError("no end")

    with pytest.raises(RuntimeError, match="no end"):
        broken()
    assert (tmp_path / "episodes.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.csv"]


def test_episodes_that_take_turns_need_one_file_per_environment(tmp_path, monkeypatch):
    opened, make = [], tempfile.TemporaryFile

    def noted(**words):
        opened.append(make(**words))
        return opened[-1]

    monkeypatch.setattr("tempfile.TemporaryFile", noted)
    with contextlib.closing(StepTable(tmp_path, columns=1)) as table:
        # Two environments have 5 and 4 episodes, of 1 and of 2 steps, and end their first, second, … ones in turn.
        for episode in (0, 5):
            table.on_episode_begin(episode, np.zeros(1))
        for episode, following in ((0, 1), (5, 6), (1, 2), (6, 7), (2, 3), (7, 8), (3, 4), (8, None), (4, None)):
            for number in range(1 + (episode > 4)):
                table.on_step_end(step(episode, number, (1,)))
            table.on_episode_end(episode, 0.0, 1)
            if following is not None:
                table.on_episode_begin(following, np.zeros(1))
        table.write(tmp_path / "episodes.csv")
    assert [row["episode"] for row in rows_of(tmp_path)] == [*"01234", *"55667788"]
    assert len(opened) == 2
    assert all(file.closed for file in opened)


@pytest.mark.parametrize(
    ("reward", "cell"),
    [
        (0.1, "0.1"),
        (float(np.float32(0.1)), "0.1"),  # of a world, in float32
        (1 / 3, "0.3333333333333333"),
        (16_777_217.0, "16777217.0"),
        (-1.0, "-1.0"),
    ],
)
def test_a_reward_is_written_as_it_was_given(reward, cell, tmp_path):
    with contextlib.closing(StepTable(tmp_path, columns=0)) as table:
        table.on_episode_begin(0, np.zeros(1))
        table.on_step_end(replace(step(0, 0, (1,)), reward=reward))
        table.on_episode_end(0, reward, 1)
        table.write(tmp_path / "episodes.csv")
    assert [row["reward"] for row in rows_of(tmp_path)] == [cell]


def tell(callback, episodes, shape=(1,)):
    for episode, length in episodes:
        callback.on_episode_begin(episode, np.zeros(shape))
        for number in range(length):
            callback.on_step_end(step(episode, number, shape))
        callback.on_episode_end(episode, 0.0, length)


def step(episode, number, shape):
    seen = np.full(shape, number, np.float32)
    return Step(
        episode=episode, number=number, observation=seen, action=1, reward=0.5, next_observation=seen + 1,
        terminated=False, truncated=False,
    )  # fmt: skip
