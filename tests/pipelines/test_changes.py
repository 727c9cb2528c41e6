"""What may be changed at a resume works, is written down, and leaves metrics.csv whole; all else is refused."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from modules import checkpoint
from pipelines import resume
from pipelines.training.resuming import apply_changes
from tests.pipelines.launch import ROOT, launch, run

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "total_frames=200", "hydra.run.dir=run")
CHANGES = {
    "total_frames": 400,
    "log_every": 60,
    "save_every": 60,
    "eval_every": 140,
    "eval_episodes": 3,
    "keep_checkpoints": 4,
    "device": "auto",
    "stop_at_score": 600.0,
    "stop_at_episodes": 9_000,
    "stop_at_length": None,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("trained")
    assert run("pipelines.train", *TINY, cwd=cwd).code == 0
    return cwd


@pytest.fixture
def place(trained, tmp_path) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path


def frames(place: Path) -> list[int]:
    with (place / "run" / "metrics.csv").open() as file:
        return [int(row["frames"]) for row in csv.DictReader(file)]


def config(place: Path):
    return OmegaConf.load(place / "run" / "config.yaml")


def test_changes_are_obeyed_and_written_down(place):
    words = [f"{name}={'null' if value is None else value}" for name, value in CHANGES.items()]
    ended = run("pipelines.resume", "run=run", *words, "logger=tensorboard", "logger.tags=[b]", cwd=place)
    assert ended.code == 0, ended.err
    found = config(place)
    assert {name: found[name] for name in CHANGES} == CHANGES
    assert (found.logger.to, found.logger.tags) == (["csv", "tensorboard"], ["b"])
    assert (place / "run" / "tensorboard").is_dir()
    assert frames(place) == [40, 80, 120, 160, 200, 240, 280, 300, 360, 400]
    kept = [path.name for path in checkpoint.list_checkpoints(place / "run" / "checkpoints")]
    assert kept == [f"frames_{n:012d}.pt" for n in (240, 300, 360, 400)]
    again = run("pipelines.resume", "run=run", "total_frames=460", "save_every=200", cwd=place)  # as the ring allows
    assert again.code == 0, again.err


def test_a_logger_is_chosen_before_its_settings_are_changed():
    before = {"threads": 1, "logger": {"to": [], "project": "mine"}}
    after = apply_changes(before, {"logger.project": "theirs", "threads": 2, "logger": "wandb"})
    assert (after["threads"], after["logger"]["to"], after["logger"]["project"]) == (2, ["csv", "wandb"], "theirs")
    assert before == {"threads": 1, "logger": {"to": [], "project": "mine"}}


def test_a_run_of_a_gpu_that_is_gone_goes_on_on_the_cpu(place):
    changed = config(place)
    changed.device = "cuda"
    OmegaConf.save(changed, place / "run" / "config.yaml")
    refused = run("pipelines.resume", "run=run", "total_frames=240", cwd=place)
    assert (refused.code, "use device=cpu" in refused.err) == (2, True)
    assert run("pipelines.resume", "run=run", "total_frames=240", "device=cpu", cwd=place).code == 0
    assert config(place).device == "cpu"


def test_rows_stay_when_the_log_is_left_and_taken_up_again(place):
    before = (place / "run" / "metrics.csv").read_text()
    assert run("pipelines.resume", "run=run", "total_frames=300", "logger=none", cwd=place).code == 0
    assert (place / "run" / "metrics.csv").read_text() == before
    words = ("run=run", "total_frames=100_000", "logger=csv", "save_every=50_000")
    killed = launch("pipelines.resume", *words, cwd=place).until(lambda: len(frames(place)) > 7)
    killed.signal(9).wait()  # the newest checkpoint is one that knows nothing of the file
    assert run("pipelines.resume", "run=run", "total_frames=360", cwd=place).code == 0
    assert frames(place) == [40, 80, 120, 160, 200, 320, 360]
    assert (place / "run" / "metrics.csv").read_text().startswith(before)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("name=other", "name: it cannot be changed at a resume; what can is total_frames"),
        ("replay.capacity=9", "replay.capacity: it cannot be changed"),
        ("dry=true", "dry: it cannot be changed"),
        ("logger=tensorbord", "logger=tensorbord: no such option; did you mean logger=tensorboard"),
        ("logger.mod=online", "logger.mod: no such setting here; there are to, mode"),
        ("logger.to=[mlflow]", r"logger.to\[0\]: it should be"),
        ("eval_episodes=0", "eval_episodes: it should be greater than 0"),
        ("device=gpu", "device: it should be 'auto', 'cpu' or 'cuda'"),
        ("save_every=10", "save_every=10 must not be smaller than one batch"),
        ("video=perhaps", "video: it should be a valid boolean"),
        ("total_frames=null", "total_frames: it should be a valid integer"),
    ],
)
def test_all_else_is_refused(word, says, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    words = [word] if word.startswith("total") else ["total_frames=400", word]
    with pytest.raises(SystemExit) as ended:
        resume.main(["run=run", *words])
    assert ended.value.code == 2
    assert re.search(says, capsys.readouterr().err)


def test_the_page_lists_what_may_be_changed():
    page = (ROOT / "docs" / "python.md").read_text().split("## What may be changed at a resume")[1]
    table = page.split("## ")[0]
    listed = re.findall(r"^\| ([^|\\]+)", table, re.MULTILINE)[1:]
    listed = re.findall(r"`(\w+)", " ".join(listed))
    assert sorted(listed) == sorted(set(resume.CHANGEABLE))
