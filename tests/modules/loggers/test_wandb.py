"""W&B without network and account."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from modules.loggers import LoggerContext, LoggerSpec
from modules.spec import UsageError


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def _spec(mode: Literal["offline", "online"]) -> LoggerSpec:
    return LoggerSpec(to=("csv", "wandb"), mode=mode, project="recall", group="g", name=None, tags=("t",))


def _records(file: Path) -> list[dict[str, Any]]:
    """Read a .wandb file with the viewer that wandb ships."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_online_without_a_login_is_refused_before_anything_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec("online")
    problem = next(iter(spec.needs(None)))
    assert "wandb login" in problem
    assert "logger.mode=offline" in problem
    with pytest.raises(UsageError, match="needs a W&B login"):
        spec.build(LoggerContext(run_dir=tmp_path, config={}, name="n", frames=0, state=None))
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(UsageError, match=r"login cannot be used \(WANDB_API_KEY invalid: .*logger\.mode=offline"):
        spec.build(LoggerContext(run_dir=tmp_path, config={}, name="n", frames=0, state=None))
    assert list(tmp_path.iterdir()) == []


def test_offline_run_has_config_frames_as_its_x_axis_video_and_summary(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hooks = sys.excepthook, sys.exit
    log = _spec("offline").build(
        LoggerContext(run_dir=tmp_path, config={"seed": 3}, name="n", group="not this one", frames=0, state=None)
    )
    assert (sys.excepthook, sys.exit) == hooks
    log.log(64, {"loss/q": 0.5})
    (tmp_path / "v.mp4").write_bytes(b"video")
    log.video(64, tmp_path / "v.mp4")
    log.table("arms", 128, [{"arm": 0, "return_mean": 0.5}, {"arm": 2, "return_mean": 4.0}])
    cv2.imwrite(str(tmp_path / "visits.png"), np.zeros((2, 2, 3), np.uint8))
    log.image(128, tmp_path / "visits.png")
    state = log.state()
    log.finish({"status": "interrupted", "score": 7.0, "versions": {"torch": "2"}})
    log.finish({})
    resumed = _spec("offline").build(
        LoggerContext(run_dir=tmp_path, config={"seed": 3}, name="n", frames=64, state=state)
    )
    assert resumed.state()["wandb_id"] == state["wandb_id"]
    resumed.finish({"status": "finished"})
    assert capfd.readouterr() == ("", "")

    first, _second = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{state['wandb_id']}.wandb"))
    records = _records(first)
    run = next(r["run"] for r in records if r["type"] == "run")
    assert run["config"]["update"]["seed"] == 3
    assert (run["project"], run["run_group"], run["display_name"], run["tags"]) == ("recall", "g", "n", ["t"])
    assert run["job_type"] == "train"
    axes = [
        (r["metric"]["glob_name"], r["metric"]["step_metric"]) for r in records if "glob_name" in r.get("metric", {})
    ]
    assert axes == [("*", "frames")]
    rows = [r["history"]["item"] for r in records if r["type"] == "history"]
    assert [row["frames"] for row in rows] == [64, 64, 128, 128]
    returns = {name: value for name, value in rows[2].items() if name.startswith("arms/")}
    assert returns == {"arms/return_mean/00": 0.5, "arms/return_mean/02": 4.0}
    assert (first.parent / "files" / rows[3]["visits.path"]).read_bytes() == (tmp_path / "visits.png").read_bytes()
    assert rows[0]["loss/q"] == 0.5
    assert (first.parent / "files" / rows[1]["video.path"]).read_bytes() == b"video"
    summaries = [r["summary"].get("update", {}) for r in records if r["type"] == "summary"]
    assert any(s.get("score") == 7.0 and s["versions"] == {"torch": "2"} for s in summaries)
    assert [r["exit"]["exit_code"] for r in records if r["type"] == "exit"] == [255]
    files = {path.name for path in first.parent.rglob("*")}
    assert not files & {"requirements.txt", "output.log", "diff.patch", "test_wandb.py"}


def test_the_id_of_one_run_is_not_inherited_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    ids = []
    for number in ("0", "1", "2"):
        (tmp_path / number).mkdir()
        log = _spec("offline").build(
            LoggerContext(run_dir=tmp_path / number, config={}, name="n", frames=0, state=None)
        )
        ids.append(log.state()["wandb_id"])
        log.finish({"status": "finished"})
    assert ids[0] == "mine"
    assert len(set(ids)) == 3
    monkeypatch.setenv("WANDB_RUN_ID", "another")  # of a job that continues with a run
    sizes = {f"{name}_csv": (tmp_path / "0" / f"{name}.csv").stat().st_size for name in ("metrics", "timing")}
    log = _spec("offline").build(
        LoggerContext(run_dir=tmp_path / "0", config={}, name="n", frames=1, state={"wandb_id": "mine", **sizes})
    )
    assert log.state()["wandb_id"] == "mine"
    log.finish({"status": "finished"})


def test_the_jobs_of_a_sweep_share_a_folder_and_keep_their_best_score_and_policy(tmp_path: Path) -> None:
    spec = LoggerSpec(to=("wandb",), mode="offline", project="recall", group=None, name=None, tags=())
    ids = {}
    for job in ("seed=0", "seed=1"):
        (tmp_path / job / "checkpoints").mkdir(parents=True)
        (tmp_path / job / "checkpoints" / "best.pt").write_bytes(job.encode())
        (tmp_path / job / "config.yaml").write_text("seed: 0")
        log = spec.build(
            LoggerContext(run_dir=tmp_path / job, shared=tmp_path, config={}, name=job, group="x" * 200 + job)
        )
        for frames, score in ((64, 5.0), (128, 2.0)):
            log.log(frames, {"eval/return_mean": score, "loss/q": score})
        ids[job] = str(log.state()["wandb_id"])
        log.finish({"status": "finished", "score": 2.0, "best_score": 9.0})  # 9 before this sitting
        (tmp_path / job / "checkpoints" / "best.pt").write_bytes(b"of the run continued")
    assert not list(tmp_path.glob("seed=*/wandb"))

    groups = []
    for job, run_id in ids.items():
        (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id}/*.wandb")
        records = _records(file)
        groups += [r["run"]["run_group"] for r in records if r["type"] == "run"]
        kept: dict[str, Any] = {}
        for record in records:
            if record["type"] == "summary":
                kept |= record["summary"].get("update", {})
        assert kept["eval/return_mean"] == {"max": 9.0}
        assert kept["loss/q"] == 2.0
        seen = [r["summary"].get("update", {}).get("eval/return_mean") for r in records if r["type"] == "summary"]
        assert {"max": 5.0} in seen  # while it runs
        (artifact,) = [r["artifact"] for r in records if r["type"] == "artifact"]
        assert set(artifact["aliases"]) == {"best", "latest"}
        assert (artifact["name"], artifact["type"]) == (f"policy-{run_id}", "model")
        files = {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}
        assert set(files) == {"checkpoints/best.pt", "config.yaml"}
        assert files["checkpoints/best.pt"].read_bytes() == job.encode()
        assert all(path.is_relative_to(file.parent) for path in files.values())
    assert len(set(groups)) == 2
    assert all(len(group) == 128 for group in groups)


def test_a_link_in_place_of_the_shared_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wandb").symlink_to(tmp_path / "elsewhere")
    spec = LoggerSpec(to=("wandb",), mode="offline", project="recall", group=None, name=None, tags=())
    with pytest.raises(UsageError, match="wandb: a link"):
        spec.build(LoggerContext(run_dir=tmp_path / "seed=0", shared=tmp_path, config={}, name="n"))
    assert not list((tmp_path / "elsewhere").iterdir())
