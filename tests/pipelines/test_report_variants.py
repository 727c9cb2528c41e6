"""Reports on any number of variants: how they are told apart, and what is said of them over many tasks."""

import csv
import math

import numpy as np
import pytest

from modules.plots.statistics import common_curve, improvement_over_tasks, profile
from tests.pipelines.test_report import rows

STREAMS = {"network": {"streams": {"_target_": "modules.One"}}}
ARMS = ({"meta": {"_target_": "modules.meta.Bandit", "window": 90}}, {"meta": {"_target_": "modules.meta.None_"}})


def labels(text):
    return [row[0] for row in rows(text) if row[1:2] == ["score"]]


def test_runs_that_differ_in_a_setting_are_groups_of_their_own(make_run, report, tmp_path):
    for seed in range(2):
        for rate in (0.1, 0.2):
            make_run(f"{rate}{seed}", rate + seed, seed=seed, config={"optim": {"lr": rate}})
    text = report(tmp_path / "runs")
    assert labels(text) == ["cartpole, lstm, optim.lr=0.1", "cartpole, lstm, optim.lr=0.2"]
    assert [row[3] for row in rows(text) if row[1:2] == ["score"]] == [
        "0.6000 [0.1000, 1.100]",
        "0.7000 [0.2000, 1.200]",
    ]


def test_how_long_a_run_trains_makes_no_variant_but_is_said(make_run, report, tmp_path):
    for seed, frames in enumerate((200, 600)):
        make_run(
            f"{seed}", 1.0, seed=seed, config={"total_frames": frames, "eval_every": frames, "stop_at_score": seed}
        )
    text = report(tmp_path / "runs")
    assert labels(text) == ["cartpole, lstm"]
    assert "its runs differ in total_frames, eval_every, stop_at_score" in text


def test_a_setting_that_older_runs_do_not_have_makes_no_variant(make_run, report, tmp_path):
    make_run("old", 1.0)
    make_run("new", 1.0, seed=1, config={"optim": {"clip": 1}})
    assert labels(report(tmp_path / "runs")) == ["cartpole, lstm"]


def test_by_groups_by_these_settings_alone(make_run, report, tmp_path):
    for i, (meta, rate) in enumerate((meta, rate) for meta in ARMS for rate in (0.1, 0.2)):
        make_run(f"{i}", float(i), seed=i, config={**meta, "optim": {"lr": rate}})
    runs = tmp_path / "runs"
    assert labels(report(runs, "--by", "meta")) == ["cartpole, meta=Bandit", "cartpole, meta=None_"]
    both = ["cartpole, meta=Bandit, optim.lr=0.1", "cartpole, meta=Bandit, optim.lr=0.2"]
    assert labels(report(runs, "--by", "meta,optim.lr"))[:2] == both
    text = report(runs, "--by", "optim.lr")
    assert labels(text) == ["cartpole, optim.lr=0.1", "cartpole, optim.lr=0.2"]
    assert "its runs differ in meta._target_" in text
    assert labels(report(runs, "--by", "memory", "exp")) == ["cartpole, memory=lstm, exp=cartpole"]


def test_parts_of_one_class_are_told_apart_by_what_differs_in_them(make_run, report, tmp_path):
    for window in (90, 160):
        make_run(f"{window}", 1.0, config={"meta": {"_target_": "modules.meta.Bandit", "window": window, "beta": 1}})
    found = labels(report(tmp_path / "runs", "--by", "meta"))
    assert found == ["cartpole, meta.window=160", "cartpole, meta.window=90"]


def test_a_part_that_some_runs_lack_has_a_dash(make_run, report, tmp_path):
    make_run("a", 1.0, config=STREAMS)
    make_run("b", 1.0)
    found = labels(report(tmp_path / "runs", "--by", "network.streams"))
    assert found == ["cartpole, network.streams=One", "cartpole, network.streams=–"]


def test_an_unknown_setting_or_format_is_refused(make_run, refused, tmp_path):
    make_run("a", 1.0, config={"optim": {"lr": 1}})
    assert "--by: no run has a setting 'optim.rl'; near are optim.lr" in refused(tmp_path / "runs", "--by", "optim.rl")
    assert "--formats: 'gif' is none; allowed: png, pdf, svg" in refused(tmp_path / "runs", "--formats", "gif")


def test_a_curve_is_carried_on_where_a_run_stopped_early_and_nowhere_else(make_run, report, tmp_path):
    frames, values = np.array([100.0, 200.0]), np.array([1.0, 3.0])
    longer = (np.array([100.0, 200.0, 300.0]), np.array([0.0, 1.0, 2.0]))
    grid, both = common_curve([(frames, values), longer], [True, False])
    assert grid.tolist() == [100, 200, 300]
    assert both.tolist() == [[1, 3, 3], [0, 1, 2]]
    assert common_curve([(frames, values), longer])[0].tolist() == [100, 200]
    assert common_curve([(frames, values), longer], [True, True])[0].tolist() == [100, 200, 300]

    make_run("early", 9.0, frames=150, curve={100: 1.0, 150: 9.0})
    make_run("late", 2.0, seed=1)
    text = report(tmp_path / "runs")
    assert "1 of its 2 runs stopped early; its curve carries their last values on" in text
    assert "covers only" not in text


def test_a_run_that_was_killed_is_not_carried_on(make_run, report, tmp_path):
    make_run("killed", None, frames=150, status="interrupted", curve={100: 1.0, 150: 9.0})
    make_run("late", 2.0, seed=1)
    text = report(tmp_path / "runs")
    assert "carries" not in text
    assert "its curve covers only the frames at which all its runs have data" in text


def test_profile_and_improvement_over_tasks_by_hand():
    tasks = [np.array([0.0, 1.0]), np.array([0.5, 0.5, 0.5, 1.0])]
    assert profile(tasks, np.array([-1.0, 0.25, 0.75, 2.0])).tolist() == [1.0, 0.75, 0.375, 0.0]
    found = improvement_over_tasks(
        [(np.array([1.0, 2.0]), np.array([0.0, 0.0])), (np.array([1.0, 1.0]), np.array([1.0, 2.0]))]
    )
    assert found.value == pytest.approx((1.0 + 0.25) / 2)
    assert found.low <= found.value <= found.high


def test_variants_of_several_tasks_are_compared_over_all_of_them(make_run, report, tmp_path):
    for exp, most in (("maze", 1.0), ("field", 10.0)):
        for seed in range(2):
            make_run(f"{exp}{seed}l", most, seed=seed, exp=exp)
            make_run(f"{exp}{seed}n", most * seed / 4, seed=seed, exp=exp, memory="none")
    text = report(tmp_path / "runs")
    assert "## Over 2 tasks" in text
    assert rows(text, "lstm", "4")[0][2:] == ["1 [1, 1]", "1 [1, 1]"]
    assert rows(text, "none", "4")[0][2].startswith("0.1250 [")
    assert rows(text, "lstm > none")[0][1] == "1.00 [1.00, 1.00]"
    assert "0 to 1 is field 0 to 10, maze 0 to 1" in text
    assert (tmp_path / "out" / "report_profiles.png").exists()


def test_a_variant_that_is_not_on_all_tasks_is_left_out_and_named(make_run, report, tmp_path):
    for exp in ("maze", "field"):
        for memory, score in (("lstm", 2.0), ("none", 1.0)):
            make_run(f"{exp}{memory}", score, exp=exp, memory=memory)
    make_run("third", 1.0, exp="maze", memory="gru")
    text = report(tmp_path / "runs")
    assert "Not on all of these tasks, and left out: gru." in text
    assert rows(text, "lstm > none")[0][1] == "1.00"  # one run per task gives no interval
    assert rows(text, "lstm", "2")[0][2:] == ["1", "1"]


def test_tables_for_other_programs(make_run, report, tmp_path):
    for seed, score in enumerate([100.0, 0.0, 4.0, 2.0]):
        make_run(f"s{seed}", score, seed=seed, exp="cart_pole")
    report(tmp_path / "runs", "--formats", "svg,pdf,png")
    out = tmp_path / "out"
    (row,) = csv.DictReader((out / "report.csv").read_text().splitlines())
    assert (row["exp"], row["variant"], row["quantity"], row["n"]) == ("cart_pole", "lstm", "score", "4")
    assert (float(row["mean"]), float(row["iqm"]), float(row["max"])) == (26.5, 3.0, 100.0)
    assert float(row["mean_low"]) < 26.5 < float(row["mean_high"])
    assert r"cart\_pole & 26.50 [" in (out / "report.tex").read_text()
    assert (out / "report.svg").read_text().startswith("<?xml")
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_single_run_has_no_band_and_no_interval(make_run, report, monkeypatch, tmp_path):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda _, title: titles.append(title))
    report(make_run("a", 1.0))
    assert titles == ["Mean (thin lines: single runs)"]
    (row,) = csv.DictReader((tmp_path / "out" / "report.csv").read_text().splitlines())
    assert row["mean_low"] == ""
    assert math.isfinite(float(row["mean"]))
