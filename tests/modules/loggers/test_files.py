"""CSV, TensorBoard, fan-out and schema; W&B has its own file."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules.loggers import Logger, LoggerContext, LoggerSpec
from modules.loggers.base import Row
from modules.loggers.many import ManyLoggers
from modules.loggers.tensorboard import TensorboardLogger
from modules.metrics import Metric
from modules.spec import UsageError
from pipelines.config.hints import content

ROOT = Path(__file__).resolve().parents[3]
Sink = Literal["csv", "tensorboard", "wandb"]


DECLARED = (
    Metric("train/episodes", "count", "episodes"),
    Metric("loss/q", "loss", "loss"),
    Metric("perf/wall_s", "s", "time", timing=True),
    Metric("eval/return_mean", "reward", "return"),
)


def _open(run_dir: Path, *to: Sink, frames: int = 0, state: dict[str, str | int] | None = None) -> Logger:
    spec = LoggerSpec(to=to, mode="disabled", project="p", group=None, name=None, tags=())
    return spec.build(LoggerContext(run_dir=run_dir, config={}, name="n", frames=frames, state=state, metrics=DECLARED))


def test_csv_has_one_row_per_event_and_one_column_per_metric_of_the_table(tmp_path: Path) -> None:
    log = _open(tmp_path, "csv")
    log.log(64, {"loss/q": 0.1, "train/episodes": 3, "perf/wall_s": 1.5})
    log.log(128, {"eval/return_mean": float(torch.tensor(0.1))})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))  # before finish: flushed at every row
    timing = list(csv.DictReader((tmp_path / "timing.csv").open()))
    assert tuple(rows[0]) == ("frames", "train/episodes", "loss/q", "eval/return_mean")
    assert tuple(timing[0]) == ("frames", "perf/wall_s")
    assert {k: v for k, v in rows[0].items() if v} == {
        "frames": "64",
        "loss/q": "0.1",
        "train/episodes": "3.0",
    }
    assert {k: v for k, v in rows[1].items() if v} == {
        "frames": "128",
        "eval/return_mean": "0.10000000149011612",
    }
    assert {k: v for k, v in timing[0].items() if v} == {"frames": "64", "perf/wall_s": "1.5"}
    assert {k: v for k, v in timing[1].items() if v} == {"frames": "128"}


def test_resumed_csv_is_byte_for_byte_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    events = [(f, {"loss/q": 1 / f, "perf/wall_s": f / 7}) for f in range(1, 6)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    log = _open(whole, "csv")
    for event in events:
        log.log(*event)
    log.finish({})
    log = _open(broken, "csv")
    for event in events[:3]:
        log.log(*event)
    state = log.state()
    assert state == {
        "metrics_csv": (broken / "metrics.csv").stat().st_size,
        "timing_csv": log.state()["timing_csv"],
    }
    log.log(99, {"loss/q": 99.0})  # after the checkpoint, then killed: neither closed nor at the end of a line
    with (broken / "metrics.csv").open("ab") as half:
        half.write(b"100,0.")
    log = _open(broken, "csv", frames=3, state=state)
    assert log.state() == state
    assert (broken / "metrics.csv").stat().st_size == state["metrics_csv"]  # gone before the next row comes
    for event in events[3:]:
        log.log(*event)
    log.finish({})
    log.finish({})
    for name in ("metrics.csv", "timing.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_csv_refuses_files_that_do_not_fit(tmp_path: Path) -> None:
    log = _open(tmp_path, "csv")
    log.log(1, {"loss/q": 1.0})
    state = log.state()
    log.finish({})
    assert log.state() == state
    path = tmp_path / "metrics.csv"
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"metrics\.csv exists already"):
        _open(tmp_path, "csv")
    path.write_bytes(before[:-1])
    with pytest.raises(UsageError, match=r"metrics\.csv is missing or shorter than the \d+ bytes"):
        _open(tmp_path, "csv", frames=1, state=state)
    path.write_bytes(before.replace(b"loss/q,", b"loss/x,"))
    with pytest.raises(UsageError, match=r"metrics\.csv has other columns"):
        _open(tmp_path, "csv", frames=1, state=state)
    assert path.read_bytes() == before.replace(b"loss/q,", b"loss/x,")


def _scalars(run_dir: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(name)]


def test_tensorboard_has_x_frames_and_resuming_hides_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = _open(tmp_path, "tensorboard")
    log.log(64, {"loss/q": 0.5, "perf/wall_s": 1.0})
    log.log(128, {"loss/q": 0.25})
    state = log.state()
    log.log(192, {"loss/q": 99.0})
    assert _scalars(tmp_path, "loss/q") == [(64, 0.5), (128, 0.25), (192, 99.0)]  # before finish: flushed
    log = _open(tmp_path, "tensorboard", frames=128, state=state)
    log.log(192, {"loss/q": 0.125})
    log.video(192, tmp_path / "videos" / "192.mp4")
    log.finish({"status": "finished", "score": 3.0})
    log.finish({})
    assert _scalars(tmp_path, "loss/q") == [(64, 0.5), (128, 0.25), (192, 0.125)]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert texts["video/text_summary"] == "videos/192.mp4"
    assert '"score": 3.0' in texts["summary/text_summary"]


class _Recorder:
    def __init__(self, calls: list[str], name: str, *, fails: bool) -> None:
        self._calls, self._name, self._fails = calls, name, fails

    def log(self, frames: int, metrics: object) -> None:
        self._calls.append(f"{self._name} log {frames}")

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        self._calls.append(f"{self._name} table {frames}")

    def image(self, frames: int, path: Path) -> None:
        self._calls.append(f"{self._name} image {frames}")

    def video(self, frames: int, path: Path) -> None:
        self._calls.append(f"{self._name} video {frames}")

    def finish(self, summary: object) -> None:
        self._calls.append(f"{self._name} finish")
        if self._fails:
            raise OSError("disk full")

    def state(self) -> dict[str, str | int]:
        return {self._name: 1}


def test_many_reaches_all_and_closes_all_although_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    many = ManyLoggers({"a": _Recorder(calls, "a", fails=True), "b": _Recorder(calls, "b", fails=False)}, {})
    many.log(1, {})
    many.table("t", 1, [])
    many.image(2, Path("a.png"))
    many.video(2, Path("v.mp4"))
    assert many.state() == {"a": 1, "b": 1}
    many.finish({})
    assert caplog.messages == ["logger a could not be closed: OSError: disk full"]
    many.finish({})
    events = ("log 1", "table 1", "image 2", "video 2", "finish")
    assert calls == [f"{name} {event}" for event in events for name in ("a", "b")]


def test_tables_that_cannot_be_opened_end_the_run_and_close_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    monkeypatch.setattr(TensorboardLogger, "finish", lambda self, summary: closed.append(summary))
    (tmp_path / "timing.csv").mkdir()
    with pytest.raises(UsageError, match=r"timing\.csv exists already"):
        _open(tmp_path, "tensorboard", "csv")
    assert closed == [{"status": "failed"}]


def test_disabled_and_empty_logs_write_nothing(tmp_path: Path) -> None:
    for log in (_open(tmp_path), _open(tmp_path, "wandb")):
        log.log(1, {"loss/q": 1.0})
        log.finish({})
        assert log.state() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"to": ("csv", "csv")},
        {"to": ("cvs",)},
        {"mode": "on"},
        {"project": "a/b"},
        {"tags": ("",)},
        {"tags": ("x" * 65,)},
    ],
)
def test_spec_refuses_what_wandb_would_refuse_later(bad: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "to": ("csv",),
        "mode": "offline",
        "project": "p",
        "group": None,
        "name": None,
        "tags": (),
    }
    LoggerSpec(**good)
    with pytest.raises(ValidationError):
        LoggerSpec(**(good | bad))


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "logger").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_option_is_a_valid_spec_that_is_offline_and_keeps_the_csv(file: Path) -> None:
    settings = content("logger", file.stem)
    assert settings.pop("_target_") == "modules.loggers.LoggerSpec"
    spec = LoggerSpec(**settings)
    assert spec.mode == "offline"
    assert ("csv" in spec.to) == (file.stem != "none")
    assert file.stem in (*spec.to, "none", "many")


def test_importing_the_package_imports_neither_wandb_nor_tensorboard() -> None:
    code = "import sys, modules.loggers; sys.exit(any(m in sys.modules for m in ('wandb', 'tensorboard')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("half", [b"", b"7,", b"40,0.25"])
def test_csv_taken_up_again_keeps_the_rows_up_to_the_checkpoint(half: bytes, tmp_path: Path) -> None:
    log = _open(tmp_path, "csv")
    for frames in (8, 16, 32):
        log.log(frames, {"loss/q": 1.0})
    log.finish({})
    with (tmp_path / "metrics.csv").open("ab") as file:
        file.write(half)
    again = _open(tmp_path, "csv", frames=20, state={})  # the checkpoint is of a sitting that logged elsewhere
    again.log(24, {"loss/q": 2.0})
    again.finish({})
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["frames"] for row in csv.DictReader(file)] == ["8", "16", "24"]
    with pytest.raises(UsageError, match="exists already"):
        _open(tmp_path, "csv")
