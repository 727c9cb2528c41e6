"""A destination that fails is reported once and left out; the others continue, and so does the run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modules.loggers import Logger, LoggerContext, LoggerSpec
from modules.loggers.csv import CsvLogger
from modules.loggers.tensorboard import TensorboardLogger
from tests.modules.loggers.test_files import DECLARED

CALLS = {
    "log": lambda logger, path: logger.log(2, {"loss/q": 0.5}),
    "table": lambda logger, path: logger.table("arms", 2, [{"arm": 0, "episodes": 1}]),
    "image": lambda logger, path: logger.image(2, path),
    "video": lambda logger, path: logger.video(2, path),
    "state": lambda logger, path: logger.state(),
}


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def opened(run_dir: Path, *to: Any, state: dict[str, str | int] | None = None) -> Logger:
    spec = LoggerSpec(to=to, mode="offline", project="p", group=None, name=None, tags=())
    return spec.build(
        LoggerContext(run_dir=run_dir, config={}, name="n", frames=1 if state else 0, state=state, metrics=DECLARED)
    )


def rows(run_dir: Path) -> list[str]:
    return [line.partition(",")[0] for line in (run_dir / "metrics.csv").read_text().splitlines()[1:]]


def no_room(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("to", [("tensorboard", "csv"), ("csv", "tensorboard"), ("tensorboard",)])
@pytest.mark.parametrize("call", CALLS)
def test_tensorboard_on_a_full_disk_is_left_out(
    to: tuple[str, ...], call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = opened(tmp_path, *to)
    logger.log(1, {})
    monkeypatch.setattr(TensorboardLogger, call, no_room)
    for _ in range(3):
        CALLS[call](logger, tmp_path / "a.png")
    logger.log(3, {})
    tables = ["metrics_csv", "timing_csv", *["arms_csv"] * (call == "table")]
    assert logger.state().keys() == set(tables if "csv" in to else [])
    logger.finish({"status": "finished"})
    assert caplog.messages == [
        "logger tensorboard failed and is left out from here on: OSError: [Errno 28] No space left on device"
    ]
    if "csv" in to:
        assert rows(tmp_path) == (["1", "2", "2", "2", "3"] if call == "log" else ["1", "3"])


@pytest.mark.parametrize("sink", ["tensorboard", "wandb"])
def test_one_that_cannot_be_opened_is_left_out(
    sink: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    if sink == "wandb":  # which, root or not, would write elsewhere
        monkeypatch.setattr("wandb.init", no_room)
    logger = opened(tmp_path, sink, "csv")
    logger.log(1, {})
    assert [message.partition(":")[0] for message in caplog.messages] == [
        f"logger {sink} failed and is left out from here on"
    ]
    assert rows(tmp_path) == ["1"]
    state = logger.state()
    logger.finish({})
    assert "wandb_id" not in state
    resumed = opened(tmp_path, sink, "csv", state=state | {"wandb_id": "mine"})
    assert resumed.state() == state | {"wandb_id": "mine"}  # for the resume after it, which may have more luck
    resumed.finish({})


def test_a_full_disk_under_the_tables_is_the_runs_and_leaves_no_half_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = opened(tmp_path, "tensorboard", "csv")
    logger.log(1, {"loss/q": 0.5})
    before = [(tmp_path / name).read_bytes() for name in ("metrics.csv", "timing.csv")]
    tables = next(v for v in vars(logger)["_loggers"].values() if isinstance(v, CsvLogger))._tables
    write = tables["timing"]._file.write

    class Short:
        """A file on a disk with room for 2 more bytes."""

        name = "timing.csv"

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def write(self, data: bytes) -> int:
            return write(data[:2])

    real = tables["timing"]._file
    tables["timing"]._file = Short()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        logger.log(2, {"loss/q": 0.5})
    assert [(tmp_path / name).read_bytes() for name in ("metrics.csv", "timing.csv")] == before
    tables["timing"]._file = real
    logger.log(2, {"loss/q": 0.25})
    assert rows(tmp_path) == ["1", "2"]
    logger.finish({})


@pytest.mark.slow
def test_wandbs_service_may_be_killed_and_the_next_run_of_the_process_has_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a process of its own, whose end must be silent as well."""
    program = f"""
import json, logging, sys
from pathlib import Path
import psutil
from tests.modules.loggers.test_failing import CALLS, opened, rows
logging.basicConfig(stream=sys.stdout, format="%(message)s")
places = [Path({str(tmp_path)!r}) / name for name in ("first", "second")]
for place in places:
    place.mkdir()
log = opened(places[0], "wandb", "csv")
log.log(1, {{"loss/q": 0.5}})
mine = log.state()["wandb_id"]
for kid in psutil.Process().children(recursive=True):
    kid.kill()
    kid.wait(20)
for call in ("log", "arms", "log"):
    CALLS[call](log, None)
assert log.state()["wandb_id"] == mine
log.finish({{"status": "finished"}})
assert rows(places[0]) == ["1", "2", "2"]
log = opened(places[1], "wandb", "csv")
log.log(1, {{"loss/q": 0.5}})
log.finish({{"status": "finished"}})
print(json.dumps([len(list(place.glob("wandb/offline-run-*/*.wandb"))) for place in places]))
"""
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=240)
    assert [ended.returncode, ended.stderr] == [0, ""]
    first, last = ended.stdout.splitlines()
    assert first.startswith("logger wandb failed and is left out from here on: ConnectionResetError")
    assert json.loads(last) == [1, 1]
