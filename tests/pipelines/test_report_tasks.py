"""What a report says about runs that are unlike, and about many tasks at once."""

import json
import os
from typing import get_args

import matplotlib.image
import numpy as np
import pytest
from omegaconf import OmegaConf

from modules.envs.worlds.tour_tasks import TaskName
from pipelines import report as pipeline
from pipelines.config.hints import CONF
from pipelines.reporting.tables import reaching
from pipelines.reporting.variants import differing
from tests.pipelines.launch import run
from tests.pipelines.test_report import rows

TASKS = ("silent_ruin", "open_field", "many_swamp", "tmaze_both", "tmaze_either", "ruin_1swamp", "ruin_2swamp")
Q = {"_target_": "Q", "gamma": 0.9, "double": True}


@pytest.fixture
def drawn(monkeypatch):
    """Collect what is handed to the drawing of each picture."""
    found = []

    def draw_report(panels, *rest, **more):
        found.append(panels)
        return real(panels, *rest, **more)

    real = pipeline.draw_report
    monkeypatch.setattr(pipeline, "draw_report", draw_report)
    return found


def evaluated(run_dir, mean, **more):
    settings = {"mean": mean, "std": 0.5, "min": -1.0, "episodes": 100, "envs": 32, "frames": 200}
    settings |= {"checkpoint": "best", "seed": 0}
    (run_dir / "evaluation.json").write_text(json.dumps(settings | more))
    return run_dir


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        (({"a": 1, "b": {"c": 2}}, {"a": 1.0, "b": {"c": 2}}), []),
        (({"a": 1, "b": {"c": 2, "d": [3]}}, {"a": 2, "b": {"c": 2, "d": [4]}}), ["a", "b.d"]),
        (({"a": 1}, {"a": 1}, {"a": 1, "b": None}), ["b"]),
        (({"a": None}, {"a": False}), ["a"]),
        (({"a": {}}, {"a": 1}), ["a"]),
        (({"loss": Q}, {"loss": {"_target_": "Dqn", "gamma": 0.9}}), ["loss._target_"]),
        (({"loss": Q}, {"loss": {"_target_": "Dqn", "gamma": 0.8, "tau": 1}}), ["loss._target_", "loss.gamma"]),
        (({"loss": Q}, {"loss": {"_target_": "Q", "gamma": 0.9}}), ["loss.double"]),
        ((), []),
    ],
)
def test_differing_settings_by_hand(nodes, names):
    assert differing(nodes) == names


def test_a_group_of_unlike_runs_names_what_differs(make_run, report):
    make_run("a", 1.0, config={"optim": {"lr": 0.1}})
    unlike = {"loss": {"_target_": "Dqn"}, "optim": {"lr": 0.2}, "total_frames": 600}
    first = make_run("b", 1.0, seed=1, config=unlike)
    text = report(first.parent, "--by", "memory")
    assert "cartpole, memory=lstm: its runs differ in total_frames, loss._target_, optim.lr.\n" in text


def test_seed_place_and_traces_of_a_run_are_no_difference(make_run, report):
    incidental = {"device": "cuda", "threads": 4, "logger": {"_target_": "L"}, "video": True, "log_every": 7}
    text = report(make_run("a", 1.0), make_run("b", 2.0, seed=1, config=incidental), make_run("c", 1.0, memory="gru"))
    assert "differ" not in text
    assert "config.yaml" not in text


def test_different_groups_are_not_compared_with_each_other(make_run, report):
    text = report(make_run("a", 1.0), make_run("b", 2.0, memory="gru", config={"total_frames": 9}))
    assert "differ" not in text


def test_a_missing_configuration_is_noted(make_run, report):
    runs = [make_run("a", 1.0), make_run("b", 1.0, seed=1)]
    (runs[1] / "config.yaml").unlink()
    assert "1 of its runs have no config.yaml" in report(*runs)


@pytest.mark.parametrize("content", ["a: [", "- 1\n"])
def test_a_broken_configuration_is_refused(make_run, refused, content):
    runs = [make_run("a", 1.0), make_run("b", 1.0, seed=1)]
    (runs[1] / "config.yaml").write_text(content)
    assert str(runs[1] / "config.yaml") in refused(*runs)


def test_evaluations_made_in_different_ways_are_noted(make_run, report):
    runs = [make_run(f"s{seed}", 1.0, seed=seed) for seed in range(3)]
    for item in runs:
        evaluated(item, 1.0)
    assert "evaluations differ" not in report(*runs)
    evaluated(runs[0], 1.0, checkpoint="last", episodes=500)
    evaluated(runs[2], 1.0, seed=7, envs=1)
    text = report(*runs)
    differ = "checkpoint (best, last), episodes (100, 500), envs (1, 32), seed (0, 7)"
    assert f"lstm: its evaluations differ in {differ}.\n" in text


@pytest.mark.parametrize(
    ("checkpoint", "frames", "curve", "outdated"),
    [
        ("best", 200, {100: 1.0, 200: 5.0}, False),
        ("best", 100, {100: 1.0, 200: 5.0}, True),
        ("best", 100, {100: 5.0, 200: 1.0}, False),  # it continued, but found nothing better
        ("best", 100, {100: 5.0, 200: 5.0}, True),  # the later one of equal evaluations is kept
        ("last", 200, {100: 5.0, 200: 1.0}, False),
        ("last", 100, {100: 5.0, 200: 1.0}, True),
    ],
)
def test_evaluations_before_the_newest_checkpoint_are_marked(make_run, report, checkpoint, frames, curve, outdated):
    a = evaluated(make_run("a", 5.0, curve=curve), 4.5, checkpoint=checkpoint, frames=frames)
    b = evaluated(make_run("b", 5.0, seed=1), 3.5)
    text = report(a, b)
    cells = [row[9] for row in rows(text, "cartpole", "lstm")]
    assert cells == ["4.500†" if outdated else "4.500", "3.500"]
    assert ("† The evaluation is older than the checkpoint" in text) == outdated
    assert ("its evaluation mean includes 1 outdated evaluation (†)" in text) == outdated


def test_the_table_has_a_line_per_experiment_and_a_column_per_memory(make_run, report, tmp_path):
    returns = {("maze", "gru"): (1.0, 1.2, 0.4), ("maze", "none"): (0.25, 0.5), ("field", "gru"): (0.7,)}
    for (exp, memory), values in returns.items():
        for seed, value in enumerate(values):
            evaluated(make_run(f"{exp}{memory}{seed}", 9.0, seed=seed, exp=exp, memory=memory), value)
    (field,), (maze,) = (rows(report(tmp_path / "runs", "--table"), exp)[:1] for exp in ("field", "maze"))
    assert field == ["field", "0.7000 (0.7000; n = 1)", "–"]
    assert maze == ["maze", "0.8667 (0.4000; n = 3)", "0.3750 (0.2500; n = 2)"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.csv", "report.md", "report.tex", "report_field.png", "report_maze.png",
    ]  # fmt: skip
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.count("](report_field.png)") == page.count("](report_maze.png)") == 1

    maze = rows(report(tmp_path / "runs", "--table", "--target", "maze=1.0"), "maze")[0]
    assert maze == ["maze", "1", "0.8667 (0.4000; 2 of 3)", "0.3750 (0.2500; 0 of 2)"]
    table = report(tmp_path / "runs", "--table", "--target", "0.5,maze=1.2")
    assert rows(table, "maze")[0][1:3] == ["1.200", "0.8667 (0.4000; 1 of 3)"]
    assert rows(table, "field")[0][1:3] == ["0.5000", "0.7000 (0.7000; 1 of 1)"]


def test_a_seed_counts_once_in_a_cell_by_its_newest_run(make_run, report, tmp_path):
    for seed in range(2):
        for name, value, when in (("z", 0.5, 1_000), ("a", 1.0, 2_000)):
            path = evaluated(make_run(f"{name}{seed}", 9.0, seed=seed), value) / "summary.json"
            os.utime(path, (when, when))
    text = report(tmp_path / "runs", "--table")
    assert rows(text, "cartpole")[0] == ["cartpole", "1 (1; n = 2)"]
    assert "seeds 0, 1 occur more than once" in text


def test_a_cell_of_unequal_lengths_is_named_beside_the_table(make_run, report, tmp_path):
    make_run("a", 0.5, memory="gru", config={"total_frames": 2000})
    for seed, frames in enumerate((2000, 600, 2000)):
        make_run(f"b{seed}", 0.5, seed=seed, config={"total_frames": frames})
    beside = report(tmp_path / "runs", "--table").split("\n\n")[1]
    assert "cartpole, lstm mixes runs of 600 and 2000 total_frames." in beside
    assert "gru" not in beside


def test_without_all_held_out_evaluations_the_table_shows_the_score_and_says_so(make_run, report, tmp_path):
    evaluated(make_run("a", 0.5), 9.0)
    make_run("b", 0.25, seed=1)
    make_run("c", None, seed=2, status="failed", curve={})
    evaluated(make_run("d", 0.5, memory="gru", curve={100: 1.0, 200: 5.0}), 7.0, frames=100)
    text = report(tmp_path / "runs", "--table", "--target", "0.5")
    assert rows(text, "cartpole")[0] == ["cartpole", "0.5000", "7† (7; 1 of 1)", "0.3750‡ (0.2500; 1 of 3)"]
    assert "‡ Of the last evaluation in training instead" in text


def test_a_target_is_reached_in_single_precision():
    single = np.float32(0.0)
    for reward in (-0.1, -0.1, -0.1, 1.0):
        single += np.float32(reward)
    assert float(single) < 0.7
    assert reaching(np.array([float(single), 0.7, 0.699, -0.7]), 0.7) == 2
    assert reaching(np.array([-0.7, -0.7 - 1e-8, -0.71]), -0.7) == 2


def test_panels_lines_and_colours(make_run, report, drawn, tmp_path):
    for exp, memory in (("maze", "gru"), ("maze", "none"), ("field", "none")):
        for seed in range(4):
            make_run(f"{exp}{memory}{seed}", 1.0 + seed, seed=seed, exp=exp, memory=memory)
    lines = ("--lines", "limit=1,author=0.6", "eval/length_mean:limit=10", "maze:limit=2")
    report(tmp_path / "runs", "--table", "--target", "1.5", "--panels", "eval/return_mean,eval/length_mean", *lines)
    field, maze = drawn
    for panels in drawn:
        labels = ["greedy return per episode [reward]", "steps per greedy episode [frames]"]
        assert [panel.label for panel in panels] == labels
        assert [panel.statistic for panel in panels] == ["mean", "mean"]
        assert panels[1].lines == {"limit": 10}
    assert field[0].lines == {"limit": 1, "author": 0.6, "target": 1.5}
    assert maze[0].lines == {"limit": 2, "author": 0.6, "target": 1.5}
    colours = [{group.label: group.colour for group in panels[0].groups} for panels in drawn]
    assert colours == [{"field, none": 1}, {"maze, gru": 0, "maze, none": 1}]
    assert field[0].groups[0].mean[-1, 0] == 2.5
    assert (field[1].groups[0].mean == 10).all()

    report(tmp_path / "runs", "--lines", "maze:limit=2", "limit=1")
    (mean, iqm) = drawn[2]
    assert (mean.statistic, iqm.statistic) == ("mean", "iqm")
    assert mean.lines == iqm.lines == {"limit": 1, "maze limit": 2}
    assert [group.colour for group in mean.groups] == [0, 1, 2]


def test_an_interquartile_mean_is_drawn_of_four_runs_or_more(make_run, report, monkeypatch):
    markers = []
    monkeypatch.setattr("modules.plots.compare._interval", lambda *_, marker, **__: markers.append(marker))
    runs = [make_run(f"s{seed}", 1.0 + seed, seed=seed) for seed in range(4)]
    report(*runs[:3])
    assert markers == ["D"]
    report(*runs)
    assert markers == ["D", "D", "o"]


def test_lines_are_in_the_picture_across_their_panel(make_run, report, tmp_path):
    def dashed_rows(*words):
        report(make_run_once, *words)
        picture = np.round(matplotlib.image.imread(tmp_path / "out" / "report.png")[..., :3] * 255)
        grey = (np.abs(picture - 102) < 3).all(2)
        half = grey.shape[1] // 2
        return [(part.sum(1) > half * 0.4).sum() for part in (grey[:, :half], grey[:, half:])]

    make_run_once = make_run("a", 5.0)
    panels = ("--panels", "eval/return_mean", "eval/length_mean")
    assert dashed_rows(*panels) == [0, 0]
    left, right = dashed_rows(*panels, "--lines", "optimum=6", "author=3")
    assert left >= 2
    assert right == 0
    left, right = dashed_rows(*panels, "--lines", "eval/length_mean:optimum=6")
    assert left == 0
    assert right >= 1


def test_refuses_what_does_not_go_together(make_run, refused):
    a = make_run("a", 1.0)
    assert "leave out --against and --metric" in refused(a, "--table", "--against", make_run("b", 1.0))
    assert "leave out --against and --metric" in refused(a, "--table", "--metric", "loss/q")
    assert "--target counts seeds in the table" in refused(a, "--target", "1")
    assert "'high' in 'high' must be a number" in refused(a, "--table", "--target", "high")
    assert "no run is of the experiment 'maze'; there are cartpole" in refused(a, "--table", "--target", "maze=1")
    assert "'nan' in 'optimum=nan' must be a number" in refused(a, "--lines", "optimum=nan")
    assert "'1.2' is not of the form [EXP:][METRIC:]NAME=VALUE" in refused(a, "--lines", "1.2")
    assert "no panel shows 'eval/length_mean'" in refused(a, "--lines", "eval/length_mean:optimum=1")
    assert "no run is of the experiment 'maze'" in refused(a, "--lines", "maze:optimum=1")
    assert "unknown metric 'eval/length'" in refused(a, "--panels", "eval/length")
    assert "more than once" in refused(a, "--panels", "loss/q,loss/q")


def test_the_sweep_trains_every_agent_on_every_tour_in_folders_of_their_own(tmp_path):
    params = OmegaConf.to_container(OmegaConf.load(f"{CONF}/sweep/tour_table.yaml"))["hydra"]["sweeper"]["params"]
    assert tuple(params["env.task"].split(",")) == TASKS
    assert set(TASKS) <= set(get_args(TaskName))
    assert params["network/memory"] == "gru,lstm,none"
    assert params["seed"] == ",".join(map(str, range(10)))
    words = ("+exp=tour", "+sweep=tour_table", "env.task=ruin_2swamp", "seed=3", "dry=true")
    ended = run("pipelines.train", "-m", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    jobs = sorted(path.name for path in tmp_path.glob("outputs/tour_table/*/*") if path.is_dir())
    assert jobs == [f"network.memory={memory}" for memory in ("gru", "lstm", "none")]
