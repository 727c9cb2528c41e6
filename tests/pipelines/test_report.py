import json
import re

import pytest

from pipelines.report import main


def rows(text, *starts):
    """Return the cells of the table rows that begin with the cells `starts`."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [row for row in cells if tuple(row[: len(starts)]) == starts]


def test_statistics_of_one_group_by_hand(make_run, report, tmp_path):
    for seed, score in enumerate([100.0, 0.0, 4.0, 2.0]):
        make_run(f"s{seed}", score, seed=seed)
    (row,) = rows(report(tmp_path / "runs"), "cartpole, lstm")
    assert row[1:3] == ["score", "4"]
    assert re.fullmatch(r"26\.50 \[.+\]", row[3])
    assert re.fullmatch(r"3 \[.+\]", row[4])
    assert row[5] == "0"


def test_below_four_runs_the_table_says_that_iqm_is_the_mean(make_run, report):
    text = report(make_run("a", 1.0), make_run("b", 2.0, seed=1), make_run("c", 3.0, seed=2))
    (row,) = rows(text, "cartpole, lstm")
    assert row[3:5] == ["2 [1, 3]", "= mean (n < 4)"]


def test_runs_are_grouped_by_exp_and_memory_and_found_once(make_run, report, tmp_path):
    make_run("deep/er/a", 1.0)
    make_run("deep/er/a/wandb", 9.0)  # nothing below a run is a run
    make_run("b", 2.0, memory="gru")
    c = make_run("c", 3.0, exp="acrobot")
    found = [row for row in rows(report(tmp_path / "runs", c / ".." / "c")) if row[1] == "score"]
    assert [row[0] for row in found] == ["acrobot, lstm", "cartpole, gru", "cartpole, lstm"]
    assert [row[2:4] for row in found] == [["1", "3"], ["1", "2"], ["1", "1"]]


def test_run_table_shows_summary_and_evaluation(make_run, report):
    a, b = make_run("a", 480.0, best_score=495.25), make_run("b", 470.0, seed=1)
    (a / "evaluation.json").write_text(json.dumps({"mean": 477.5, "std": 20, "min": 9, "episodes": 100}))
    text = report(a, b)
    first, second = rows(text, "cartpole", "lstm")
    assert first[2:] == ["0", "finished", "200", "25", "1.500", "480", "495.2", "477.5", "20", "9", "100"]
    assert second[2:] == ["1", "finished", "200", "25", "1.500", "470", "470", "–", "–", "–", "–"]
    assert not rows(text, "cartpole, lstm", "evaluation mean")  # not all runs have one


def test_evaluations_of_all_runs_have_their_own_statistics(make_run, report):
    runs = [make_run(f"s{seed}", 1.0, seed=seed) for seed in range(2)]
    for run, value in zip(runs, (10.0, 20.0), strict=True):
        (run / "evaluation.json").write_text(json.dumps({"mean": value, "std": 1, "min": 1, "episodes": 9}))
    assert rows(report(*runs), "cartpole, lstm", "evaluation mean")[0][3] == "15 [10, 20]"


def test_unfinished_runs_are_included_and_marked(make_run, report):
    failed = make_run("b", None, seed=1, status="failed", curve={100: 1.0, 150: 20.0})
    died = make_run("c", None, seed=2, status="running")
    (died / "metrics.csv").unlink()
    text = report(make_run("a", 10.0), failed, died)
    assert [row[3] for row in rows(text, "cartpole", "lstm")] == ["finished", "**failed**", "**running**"]
    assert rows(text, "cartpole, lstm")[0][2:4] == ["2", "15 [10, 20]"]
    assert "2 of 3 runs did not finish" in text
    assert "cartpole, lstm: 1 of its runs have no score" in text
    assert "its curve covers only the frames at which all its runs have data" in text


def test_pruned_runs_are_left_out_and_counted(make_run, report):
    pruned = make_run("b", 1.0, seed=1, status="pruned", frames=50)
    text = report(make_run("a", 10.0), pruned)
    assert rows(text, "cartpole, lstm")[0][2:4] == ["1", "10"]
    assert "1 run was pruned by a study and left out" in text
    with pytest.raises(SystemExit, match="2"):
        report(pruned)


def test_a_line_cut_by_a_kill_is_left_out(make_run, report):
    run = make_run("a", None, status="running", curve={100: 5.0})
    with (run / "metrics.csv").open("a") as file:
        file.write("200,0.5,9,1")
    assert rows(report(run), "cartpole, lstm")[0][3] == "5"


def test_the_score_of_the_summary_comes_before_the_last_line_at_the_same_frames(make_run, report):
    run = make_run("a", 8.0, curve={100: 5.0})
    with (run / "metrics.csv").open("a") as file:
        file.write("100,0.25,6.0,\n")
    assert rows(report(run), "cartpole, lstm")[0][3] == "8"
    assert rows(report(run, "--metric", "loss/q"), "cartpole, lstm")[0][3] == "0.2500"


def test_repeated_seeds_are_named(make_run, report):
    runs = [make_run("a", 1.0, seed=3), make_run("b", 1.0, seed=3)]
    assert "seed 3 occurs more than once" in report(*runs)
    runs += [make_run("c", 1.0, seed=4), make_run("d", 1.0, seed=4)]
    assert "seeds 3, 4 occur more than once" in report(*runs)


def test_it_says_whether_there_was_a_report_already(make_run, capsys, tmp_path):
    words = [str(make_run("a", 1.0)), "--out", str(tmp_path / "out")]
    said = []
    for _ in range(2):
        main(words)
        said.append(capsys.readouterr().out.splitlines()[-1].partition(":")[0])
    assert said == ["Written", "Replaced"]


def test_against_separated_group(make_run, report):
    side_a = [make_run(f"a{seed}", 400.0 + seed, seed=seed) for seed in range(3)]
    side_b = [make_run(f"b{seed}", 20.0 + seed, seed=seed, memory="none") for seed in range(3)]
    text = report(*side_a, "--against", *side_b, "--labels", "with", "without")
    (row,) = rows(text, "with − without")
    assert row[1] == "score"
    assert re.fullmatch(r"380 \[37.+, 38.+\]", row[2])
    assert row[4] == "1.00 [1.00, 1.00]"
    assert [row[0] for row in rows(text) if row[1] == "score"] == ["with", "without", "with − without"]


def test_against_compares_every_pair_of_groups(make_run, report):
    a, b = make_run("a", 3.0), make_run("b", 2.0, memory="gru")
    text = report(a, b, "--against", make_run("c", 1.0))
    found = [row for row in rows(text) if row[0].startswith("A: ") and "−" in row[0]]
    labels = ["A: cartpole, gru − B: cartpole, lstm", "A: cartpole, lstm − B: cartpole, lstm"]
    assert [row[0] for row in found] == labels
    assert [row[2] for row in found] == ["1", "2"]


def test_other_metrics_take_their_last_value(make_run, report):
    run = make_run("a", 7.0)
    (run / "timing.csv").write_text("frames,perf/frames_per_s\n100,5000\n200,6000\n")
    text = report(run, "--metric", "perf/frames_per_s")
    assert rows(text, "cartpole, lstm", "last perf/frames_per_s")[0][3] == "6000"
    text = report(run, "--metric", "loss/q")
    assert rows(text, "cartpole, lstm", "last loss/q")[0][3] == "0.5000"
    assert rows(text, "cartpole", "lstm")[0][-1] == "0.5000"


def test_the_report_is_reproducible(make_run, report, tmp_path):
    runs = [make_run(f"s{seed}", 10.0 * seed**2, seed=seed) for seed in range(5)]
    contents = []
    for order in (runs, runs[::-1]):
        report(*order)
        contents.append([(tmp_path / "out" / name).read_bytes() for name in ("report.md", "report.png")])
    assert contents[0] == contents[1]


def test_refuses_places_without_runs(refused, tmp_path):
    assert "no run found in" in refused(tmp_path)
    assert "is no folder" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot read"),
        ("[]", "holds no JSON object"),
        ("{}", "lacks a valid exp, memory, seed, status"),
        ('{"exp": "a", "memory": "lstm", "seed": "1", "status": "finished"}', "lacks a valid seed"),
        ('{"exp": "a", "memory": "lstm", "seed": 1, "status": "well"}', "allowed: finished, interrupted"),
        ('{"exp": "a", "memory": "lstm", "seed": 1, "status": "finished", "score": "1"}', "must be a number"),
    ],
)
def test_refuses_unreadable_summary(make_run, refused, content, sentence):
    run = make_run("a", 1.0)
    (run / "summary.json").write_text(content)
    message = refused(run)
    assert sentence in message
    assert str(run / "summary.json") in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot read"),
        (b"", "is empty for 'eval/return_mean'"),
        (b"frames,eval/return_mean\n", "is empty for 'eval/return_mean'"),
        (b"frames,eval/return_mean\n1,\n2,nan\n", "is empty for 'eval/return_mean'"),
        (b"step,eval/return_mean\n1,2\n", "first column must be 'frames'"),
        (b"frames,eval/return_mean\n1,2\n2\n", "line 3: 1 cells instead of 2"),
        (b"frames,eval/return_mean\n1,two\n", "line 2: could not convert string to float: 'two'"),
        (b"frames,eval/return_mean\n2,1.0\n1,1.0\n", "must never go back"),
        (b"frames,loss/q\n1,1.0\n", "unknown metric 'eval/return_mean'; allowed in"),
        (b"\xff\xfe\n", "cannot read"),
    ],
)
def test_refuses_bad_metrics(make_run, refused, content, sentence):
    run = make_run("a", 1.0)
    (run / "metrics.csv").unlink()
    if content is not None:
        (run / "metrics.csv").write_bytes(content)
    message = refused(run)
    assert sentence in message
    assert str(run) in message


def test_refuses_bad_evaluation(make_run, refused):
    run = make_run("a", 1.0)
    (run / "evaluation.json").write_text('{"mean": "high"}')
    assert "'mean' must be a number, not 'high'" in refused(run)


def test_refuses_bad_arguments(make_run, refused):
    run = make_run("a", 1.0)
    assert "unknown metric 'eval/retrun'; allowed in" in refused(run, "--metric", "eval/retrun")
    assert "is on both sides" in refused(run, "--against", run)
    assert "one name per side: 1 here, not 2" in refused(run, "--labels", "a", "b")
    assert "unrecognized arguments: --metrics" in refused(run, "--metrics=loss/q")
    unmeasured = make_run("b", None, status="interrupted", curve={})
    assert "no run has a value of 'eval/return_mean' yet" in refused(unmeasured)


def test_refuses_an_output_folder_that_is_a_file(make_run, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        main([str(make_run("a", 1.0)), "--out", str(tmp_path / "file")])
    assert "cannot be a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
