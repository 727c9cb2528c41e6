"""The live view with and without a terminal."""

import fcntl
import io
import logging
import os
import struct
import sys
import termios
import time
import types
from collections.abc import Callable

import pytest

from modules.loggers import Progress


def _terminal(monkeypatch: pytest.MonkeyPatch, *, columns: int) -> Callable[[], str]:
    """Make stderr a real pseudo-terminal; the function returned reads what was drawn since its last call."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    os.set_blocking(master, False)
    monkeypatch.setattr(sys, "stderr", os.fdopen(slave, "w", encoding="utf-8"))

    def read() -> str:
        sys.stderr.flush()
        text, quiet_since = b"", time.monotonic()
        while time.monotonic() - quiet_since < 0.2:  # a pseudo-terminal hands over what was written a little later
            try:
                text += os.read(master, 1 << 16)
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        return text.decode()

    return read


def test_without_a_terminal_each_show_is_one_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", err := io.StringIO())
    caplog.set_level(logging.INFO, logger="recall")
    progress = Progress(1000, 500, bar=True)
    progress.show({})
    progress.advance(100)
    progress.show({"eval/return_mean": 12.345, "loss/q": 0.01234, "train/epsilon": 0.5, "perf/wall_s": 1.0})
    progress.advance(600)
    progress.show({"perf/frames_per_s": 1234.5, "perf/updates_per_s": 51.25, "loss/q": 2.0})
    progress.close()
    progress.close()
    assert [record.getMessage() for record in caplog.records] == [
        "500/1,000 frames (50%), ? left",
        "600/1,000 frames (60%), score 12.35, loss 0.012, ε 0.50, 00:00 left",
        "1,000/1,000 frames (100%), score 12.35, loss 2, ε 0.50, 1234 frames/s, 51 updates/s, 00:00 left",
    ]
    assert err.getvalue() == ""


@pytest.mark.parametrize(("columns", "bar"), [(80, False), (0, True)], ids=["multirun", "no size"])
def test_a_terminal_where_a_bar_cannot_be_drawn_gets_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, columns: int, *, bar: bool
) -> None:
    drawn = _terminal(monkeypatch, columns=columns)
    caplog.set_level(logging.INFO, logger="recall")
    progress = Progress(10, 0, bar=bar)
    progress.advance(5)
    progress.show({})
    progress.close()
    assert len(caplog.records) == 1
    assert drawn() == ""


def test_a_bar_of_80_columns_shows_all_values_and_survives_the_overshoot(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = _terminal(monkeypatch, columns=80)
    caplog.set_level(logging.INFO, logger="recall")
    progress = Progress(400_000, 100_000, bar=True)
    progress.advance(150_000)
    values = {"eval/return_mean": 475.0, "loss/q": 0.0123, "train/epsilon": 0.05}
    progress.show({**values, "perf/frames_per_s": 1234.0, "perf/updates_per_s": 51.0})
    last = drawn().split("\r")[-1]
    assert len(last) <= 80
    assert "250k/400k 00:00 left score 475 loss 0.012 ε 0.05 1234 frames/s 51 updates/s" in last
    progress.advance(150_064)
    progress.show({})
    progress.close()
    assert "400k/400k" in drawn()


def test_a_notebook_gets_a_bar_although_its_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = Progress(100, 0, bar=True)
    progress.advance(100)
    progress.show({"eval/return_mean": 3.0})
    progress.close()
    assert "100/100" in sys.stderr.getvalue()
    assert "score 3" in sys.stderr.getvalue()
