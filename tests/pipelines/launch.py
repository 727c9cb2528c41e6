"""Start entry points as processes of their own, forked from one that has imported everything: 0.1 s instead of 5."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120  # of processor time of one process, or without any; two seconds are usual, however long they take to come
IMPORTED = ["pipelines.training.session", "pipelines.resume", "pipelines.report", "hydra.core.plugins"]

_context: Any = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*IMPORTED, "tests.pipelines.launch", "tests.pipelines.warm"])


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal that killed it) and what it wrote."""

    code: int
    out: str
    err: str


class Patience:
    """Tells a process that hangs from one that a busy machine keeps waiting: by processor time, not by the clock."""

    def __init__(self, pid: int) -> None:
        self._pid, self._used_s, self._moved = pid, 0.0, time.monotonic()

    def ended(self) -> str:
        """Say why there is no use in waiting any longer; "" while there is."""
        now = time.monotonic()
        try:
            used_s = sum(psutil.Process(self._pid).cpu_times()[:2])
        except psutil.NoSuchProcess:  # it ended just now
            return ""
        if used_s > self._used_s:
            self._used_s, self._moved = used_s, now
        if used_s > LIMIT_S:
            return f"still runs after {LIMIT_S} s of processor time"
        return f"has done nothing for {LIMIT_S} s" if now - self._moved > LIMIT_S else ""


class Started:
    """One running `python -m module arguments…` in the folder `cwd`."""

    def __init__(self, process: Any, out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    def wait(self) -> Ended:
        patience = Patience(self.process.pid)
        while self.process.exitcode is None:
            self.process.join(1)
            if self.process.exitcode is None and (why := patience.ended()):
                self.process.kill()
                raise TimeoutError(f"it {why}; stderr: {self._err.read_text()}")
        return Ended(self.process.exitcode, self._out.read_text(), self._err.read_text())

    def until(self, condition: Callable[[], bool]) -> "Started":
        """Wait until `condition()` holds; the process must still run then."""
        patience = Patience(self.process.pid)
        while not condition():
            assert self.process.exitcode is None, f"ended too early: {self._err.read_text()}"
            assert not (why := patience.ended()), f"did not come so far: it {why}"
            time.sleep(0.002)
        return self

    def signal(self, signum: int) -> "Started":
        os.kill(self.process.pid, signum)
        return self


def launch(
    module: str, *arguments: str, cwd: Path, log: Path | None = None, before: Callable[[], None] | None = None
) -> Started:
    """Start `python -m module arguments…`; its streams go to files in `log` (default: beside `cwd`)."""
    log = log or cwd.with_name(f"{cwd.name}_streams")
    log.mkdir(exist_ok=True)
    count = len(list(log.iterdir()))
    out, err = log / f"{count}.out", log / f"{count}.err"
    process = _context.Process(target=_main, args=(module, arguments, cwd, out, err, before))
    process.start()
    return Started(process, out, err)


def preset(folder: Path, override: str) -> list[str]:
    """Write a preset of somebody's own that chooses a sweeper or a launcher; return the words that take it."""
    (folder / "presets" / "mine").mkdir(parents=True)
    text = f"# @package _global_\ndefaults:\n  - override /hydra/{override}\n"
    (folder / "presets" / "mine" / "my.yaml").write_text(text)
    return [f"hydra.searchpath=[file://{folder / 'presets'}]", "+mine=my"]


def run(module: str, *arguments: str, cwd: Path, before: Callable[[], None] | None = None) -> Ended:
    """Run `python -m module arguments…` to its end."""
    return launch(module, *arguments, cwd=cwd, before=before).wait()


def command(module: str, *arguments: str, cwd: Path) -> Ended:
    """Do the same without any shortcut, as a shell does, with the imports that this takes."""
    words = [sys.executable, "-m", module, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        patience = Patience(started.pid)
        while True:
            try:
                out, err = started.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                if patience.ended():
                    started.kill()
                    raise
            else:
                return Ended(started.returncode, out, err)


def _main(
    module: str, arguments: Sequence[str], cwd: Path, out: Path, err: Path, before: Callable[[], None] | None
) -> None:
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream)
    os.chdir(cwd)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if before is not None:
        before()
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # as `python -m` finds it
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()  # as the interpreter does, without the words of multiprocessing
        raise SystemExit(1) from None
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
