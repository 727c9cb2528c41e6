"""Links in a run folder of unknown origin: nothing is written through them, and nothing that they lead to changes."""

import contextlib
import faulthandler
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from modules import checkpoint
from modules.plots.video import Writer
from modules.spec import UsageError
from pipelines.api import evaluate
from pipelines.training.begin import train_log
from pipelines.training.jobs import FAILED_JOBS, note_failed
from pipelines.training.lock import _lock_file
from pipelines.training.run_folder import refuse_existing
from tests.pipelines.test_foreign_folder import go_on

FOLDERS = ("checkpoints", "videos", "tensorboard", "wandb")
TABLES = ("metrics.csv", "timing.csv")


@pytest.fixture
def run_dir(finished_run, tmp_path) -> Path:
    """A copy of it, whose files may be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


@contextlib.contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """See to it that nothing in `folder` changes or comes."""

    def state() -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    before = state()
    yield
    assert state() == before


def moved(path: Path, place: Path, *, hard: bool = False) -> Path:
    """Put a link in place of a file or folder; return where in `place` it has gone."""
    away = place / "mine" / path.name
    away.parent.mkdir()
    path.rename(away)
    path.hardlink_to(away) if hard else path.symlink_to(away)
    return away


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", ["replay/written", "replay/reward.memmap", "replay/meta.json", *TABLES, "train.log"])
def test_a_link_in_place_of_a_file_is_refused_before_it_is_written(name, hard, run_dir, tmp_path):
    (run_dir / "train.log").touch()
    path = run_dir / name
    moved(path, tmp_path, hard=hard)
    with untouched(tmp_path), pytest.raises(UsageError, match=rf"{path}: a .*link") as said:
        go_on(run_dir)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", ["replay/written", "replay/extra", *TABLES, "train.log"])
def test_one_that_leads_nowhere_makes_no_file_there(name, run_dir, tmp_path):
    (run_dir / name).unlink(missing_ok=True)
    (run_dir / name).symlink_to(tmp_path / "profile")
    with untouched(tmp_path), pytest.raises(UsageError, match=f"{name}: a link"):
        go_on(run_dir)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_in_place_of_a_folder_is_refused(name, run_dir, tmp_path):
    (run_dir / name).mkdir(exist_ok=True)
    moved(run_dir / name, tmp_path)
    with untouched(tmp_path), pytest.raises(UsageError, match=f"{name}: a link"):
        go_on(run_dir)


def test_the_replay_may_lie_on_another_disk(run_dir, tmp_path):
    moved(run_dir / "replay", tmp_path)
    go_on(run_dir)
    assert (run_dir / "replay").is_symlink()
    assert checkpoint.latest(run_dir / "checkpoints").name == "frames_000000000120.pt"


def test_but_no_replay_begins_behind_a_link(run_dir, tmp_path):
    """Its files would take the place of those that are there."""
    away = moved(run_dir / "replay", tmp_path)
    (away / "meta.json").unlink()
    for path in checkpoint.list_checkpoints(run_dir / "checkpoints"):
        state = checkpoint.load(path)
        state["replay"] |= {"written": 0}
        checkpoint.write(path, {key: value for key, value in state.items() if key not in ("format", "version")})
    with untouched(away), pytest.raises(UsageError, match="replay: a link"):
        go_on(run_dir)


def test_a_pipe_among_the_rows_is_refused(run_dir):
    os.mkfifo(run_dir / "replay" / "extra")
    with pytest.raises(UsageError, match="extra: no file"):
        go_on(run_dir)


@pytest.mark.parametrize("run_id", ["#!/bin/sh", 3, None, 31 * "0", 33 * "0", 32 * "G", 32 * "0" + "\n"])
def test_an_identity_that_no_run_has_is_refused(run_id, run_dir):
    for path in (run_dir / "checkpoints").glob("*.pt"):
        state = checkpoint.load(path) | {"run_id": run_id}
        checkpoint.write(path, {key: value for key, value in state.items() if key not in ("format", "version")})
    (run_dir / "summary.json").unlink()
    (run_dir / "replay" / "written").unlink()
    for act in (go_on, lambda run_dir: evaluate(run_dir, episodes=1)):
        with pytest.raises(UsageError, match="because its identity is none"):
            act(run_dir)


def frame(path: Path) -> None:
    with Writer(path, fps=5.0) as video:
        video.add(np.zeros((16, 16, 3), np.uint8))


def test_a_film_is_not_written_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "videos").mkdir()
    for name in ("f.part", "f.mp4"):
        (tmp_path / "videos" / name).symlink_to(tmp_path / "mine")
    frame(tmp_path / "videos" / "f.mp4")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "videos" / "f.mp4").is_symlink()
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["f.mp4"]


def test_nor_into_a_folder_behind_one(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "videos").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="videos: a link"):
        frame(tmp_path / "videos" / "f.mp4")
    assert list((tmp_path / "mine").iterdir()) == []


def test_checkpoints_do_not_replace_those_behind_a_link(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "frames_000000000001.pt").touch()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "mine")
    with untouched(tmp_path), pytest.raises(UsageError, match="checkpoints: a link"):
        checkpoint.save(tmp_path / "checkpoints", 7, {"x": torch.zeros(1)}, keep=1)


def test_a_failed_job_is_not_noted_through_a_link(tmp_path):
    (tmp_path / FAILED_JOBS).symlink_to(tmp_path / "mine")
    with untouched(tmp_path):
        assert "why" in str(note_failed(tmp_path, tmp_path / "0", (), "why"))


def test_a_lock_file_that_leads_nowhere_is_refused_at_once(tmp_path):
    """It is there, and it is not: nobody could wait for that to change."""
    (tmp_path / "lock.json").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"lock\.json: a link"), _lock_file(tmp_path / "lock.json"):
        pass


def test_a_run_does_not_begin_where_its_log_is_a_link(tmp_path):
    (tmp_path / "train.log").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"train\.log: a link"):
        refuse_existing(tmp_path)


def test_a_crash_handler_of_before_that_cannot_come_back_is_no_failure(tmp_path, monkeypatch):
    """Notebooks and tests have a stderr that is no file of the system."""
    before = faulthandler.is_enabled()
    faulthandler.enable(2)  # the system's stderr
    try:
        with contextlib.redirect_stderr(io.StringIO()), train_log(tmp_path, continued=False):
            pass
        assert faulthandler.is_enabled()
        monkeypatch.setattr(sys, "__stderr__", io.StringIO())
        with train_log(tmp_path, continued=False):
            pass
        assert not faulthandler.is_enabled()
    finally:
        faulthandler.enable(sys.stderr) if before else faulthandler.disable()
