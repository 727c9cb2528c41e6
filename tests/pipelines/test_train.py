"""What a run leaves behind, that it can be repeated, and that several can be started at once."""

import csv
import json
import os
from pathlib import Path

import cv2
import pytest
from omegaconf import OmegaConf

from modules import checkpoint
from tests.pipelines.launch import run

TINY = ("+exp=drqn_cartpole_masked", "+debug=smoke", "video=false", "total_frames=200", "log_every=40")
SUMMARY = {"exp", "seed", "status", "frames", "updates", "wall_s", "score", "score_std", "score_min", "episodes"}
SUMMARY |= {"best_score", "commit", "versions", "memory"}


def at_home_here() -> None:
    """Keep W&B from the user's home and account."""
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        os.environ[name] = str(Path.cwd() / "home")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DIR"):
        os.environ.pop(name, None)


def train(cwd: Path, *words: str) -> Path:
    ended = run("pipelines.train", *words, "hydra.run.dir=run", cwd=cwd, before=at_home_here)
    assert ended.code == 0, ended.err
    return cwd / "run"


def table(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


MARGIN = 78  # pixels beneath CartPole's pictures: two lines of words and two bars


def picture_of(video: Path):
    film = cv2.VideoCapture(str(video))
    good, picture = film.read()
    film.release()
    assert good, video
    return picture


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The directory of one tiny run of pixels with every logger and the video."""
    return train(tmp_path_factory.mktemp("full"), "+exp=drqn_cartpole", "+debug=smoke", "logger=many", "seed=3")


def test_the_run_directory_is_complete(full):
    names = {path.name for path in full.iterdir()}
    files = {"config.yaml", "metrics.csv", "timing.csv", "summary.json", "learning_curve.png"}
    assert names >= files | {"checkpoints", "videos", "tensorboard", "wandb", "replay"}
    assert not {path for path in full.rglob("*.part")}
    assert [path.name for path in checkpoint.list_checkpoints(full / "checkpoints")] == [
        "frames_000000000300.pt",
        "frames_000000000400.pt",
    ]
    assert (full / "checkpoints" / "best.pt").is_file()
    curve = cv2.imread(str(full / "learning_curve.png"))
    assert curve is not None
    assert curve.std() > 5  # something is drawn
    (video,) = (full / "videos").glob("*.mp4")
    assert picture_of(video).shape == (400 + MARGIN, 600, 3)
    assert len(list((full / "tensorboard").rglob("events.out.tfevents.*"))) == 1
    assert len(list((full / "wandb").glob("offline-run-*/run-*.wandb"))) == 1
    assert (full / "replay" / "observation.memmap").stat().st_size > 0


def test_the_metrics_are_all_there(full):
    rows = table(full)
    assert [int(row["frames"]) for row in rows] == [*range(40, 401, 40)]
    evaluated = [int(row["frames"]) for row in rows if row["eval/return_mean"]]
    assert evaluated == [200, 400]
    assert all(row["loss/q"] for row in rows[1:])
    assert all(rows[-1].values())  # everything that there is in such a run
    assert {"loss/q", "train/epsilon", "replay/delta_q_first"} <= rows[-1].keys()
    assert not {"meta/arm_mean", "intrinsic/reward_mean", "train/temperature", "loss/policy"} & rows[-1].keys()
    timing = (full / "timing.csv").read_text().splitlines()
    assert len(timing) == len(rows) + 1


def test_the_summary_says_what_was_done(full):
    summary = read_json(full / "summary.json")
    assert summary.keys() >= SUMMARY
    expected = {"exp": "smoke", "seed": 3, "status": "finished", "frames": 400, "memory": "lstm", "episodes": 2}
    assert summary | expected == summary
    last = table(full)[-1]
    assert [summary["score"], summary["score_std"]] == [float(last[f"eval/return_{key}"]) for key in ("mean", "std")]
    assert summary["updates"] == float(last["train/updates"]) > 10
    assert summary["best_score"] == max(float(row["eval/return_mean"] or "-inf") for row in table(full))
    assert OmegaConf.load(full / "config.yaml").seed == 3


def test_evaluate_writes_what_it_found_and_a_video(full):
    words = ("run=run", "episodes=5", "seed=7", "video=true", "checkpoint=last")
    ended = run("pipelines.evaluate", *words, cwd=full.parent)
    assert ended.code == 0, ended.err
    found = read_json(full / "evaluation.json")
    returns = found["returns"]
    assert [len(returns), found["episodes"], found["seed"], found["frames"]] == [5, 5, 7, 400]
    assert [found["min"], found["max"]] == [min(returns), max(returns)]
    assert found["mean"] == pytest.approx(sum(returns) / 5)
    assert found["std"] == pytest.approx((sum((r - found["mean"]) ** 2 for r in returns) / 5) ** 0.5)
    assert f"{found['mean']:.2f}" in ended.out
    assert picture_of(full / "videos" / "evaluation_last.mp4").shape == (400 + MARGIN, 600, 3)
    assert run("pipelines.evaluate", *words[:-2], "checkpoint=last", cwd=full.parent).code == 0
    assert read_json(full / "evaluation.json") == found


def test_a_run_of_states_is_filmed_without_a_word(tmp_path):
    ended = run("pipelines.train", *TINY, "total_frames=80", "video=true", "hydra.run.dir=run", cwd=tmp_path)
    assert ended.code == 0
    assert ended.err == ""
    assert picture_of(next((tmp_path / "run" / "videos").glob("*.mp4"))).shape == (400 + MARGIN, 600, 3)


def test_equal_seeds_give_equal_bytes_and_evaluation_changes_nothing(tmp_path):
    first, again, other, often = (tmp_path / name for name in ("first", "again", "other", "often"))
    for path in (first, again, other, often):
        path.mkdir()
    metrics = train(first, *TINY) / "metrics.csv"
    assert metrics.read_bytes() == (train(again, *TINY) / "metrics.csv").read_bytes()
    assert metrics.read_bytes() != (train(other, *TINY, "seed=1") / "metrics.csv").read_bytes()
    rows = table(train(often, *TINY, "eval_every=40", "eval_episodes=3"))
    assert [bool(row["eval/episodes"]) for row in table(first / "run")] == [False, False, False, False, True]
    assert all(row["eval/episodes"] for row in rows)
    for ours, theirs in zip(table(first / "run"), rows, strict=True):
        assert {k: v for k, v in ours.items() if "eval/" not in k} == {
            k: v for k, v in theirs.items() if "eval/" not in k
        }


JOBS = ("-m", *TINY, "total_frames=80", "seed=0,1", "logger=wandb", "hydra.sweep.dir=sweep")


def assert_two_jobs(sweep: Path) -> None:
    jobs = [sweep / name for name in ("seed=0", "seed=1")]
    assert [read_json(job / "summary.json")["seed"] for job in jobs] == [0, 1]
    assert [read_json(job / "summary.json")["status"] for job in jobs] == ["finished"] * 2
    assert (jobs[0] / "metrics.csv").read_bytes() != (jobs[1] / "metrics.csv").read_bytes()
    runs = [path.name for path in sweep.glob("wandb/offline-run-*")]
    assert len({name.rpartition("-")[2] for name in runs}) == len(runs) == 2


def test_a_multirun_gives_each_job_its_seed_folder_and_wandb_run(tmp_path):
    ended = run("pipelines.train", *JOBS, cwd=tmp_path, before=at_home_here)
    assert ended.code == 0, ended.err
    assert_two_jobs(tmp_path / "sweep")
