"""The folder of a sweep stands for every run beneath it."""

import json
import shutil

import pytest

from pipelines.evaluate import main, runs_beneath
from tests.pipelines.launch import run

TINY = ("+exp=tour", "+debug=smoke", "env.task=ruin_2swamp", "total_frames=100", "video=false")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of two runs; the second is also there as number 10, and as a run whose checkpoints are lost."""
    place = tmp_path_factory.mktemp("sweep")
    ended = run("pipelines.train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=all", cwd=place)
    assert ended.code == 0, ended.err
    shutil.copytree(place / "all" / "seed=1", place / "all" / "seed=10")
    shutil.copytree(place / "all" / "seed=1", place / "all" / "seed=2")
    shutil.rmtree(place / "all" / "seed=2" / "checkpoints")
    return place / "all"


def test_every_run_is_evaluated_as_if_alone_and_a_bad_one_does_not_stop_the_others(sweep, capsys):
    names = ["seed=0", "seed=1", "seed=10"]
    alone = {}
    for name in names:
        assert main([f"run={sweep / name}", "episodes=3", "seed=4"]) == 0
        alone[name] = (sweep / name / "evaluation.json").read_text()
        (sweep / name / "evaluation.json").unlink()
    capsys.readouterr()
    assert main([f"run={sweep}", "episodes=3", "seed=4"]) == 1
    output = capsys.readouterr()
    assert {name: (sweep / name / "evaluation.json").read_text() for name in names} == alone
    lines = output.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(sweep / name) for name in names]
    found = json.loads(alone["seed=0"])
    assert f"return {found['mean']:.4g} ± " in lines[0]
    assert f"3 episodes of {found['length_mean']:.4g} steps, best checkpoint at frame {found['frames']}" in lines[0]
    assert output.err.startswith(f"error: {sweep / 'seed=2'}")
    assert output.err.count("\n") == 1
    assert output.err.count("seed=2") == 1


def test_what_is_no_usage_error_does_not_stop_the_others_either(sweep, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no end")

    monkeypatch.setattr("pipelines.agent.held_out.run_episodes", broken)
    assert main([f"run={sweep}"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert [line.endswith(": RuntimeError: no end") for line in output.err.splitlines()] == [True, True, False, True]


def test_a_sweep_without_a_bad_run_succeeds(sweep, capsys, tmp_path):
    shutil.copytree(sweep / "seed=0", tmp_path / "deep" / "er" / "seed=0")
    assert main([f"run={tmp_path}", "episodes=1"]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_is_no_sweep_and_a_folder_without_runs_has_none(sweep, tmp_path):
    assert runs_beneath(sweep / "seed=0") == runs_beneath(tmp_path) == runs_beneath(tmp_path / "nowhere") == []


def test_a_text_view_is_of_one_run(sweep, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"run={sweep}", "view=text"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: view=text shows one run, but ")
