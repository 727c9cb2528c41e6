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

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120  # of one process; two seconds are usual
IMPORTED = ["pipelines.session", "pipelines.resume", "pipelines.report", "hydra.core.plugins"]

_context: Any = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*IMPORTED, "tests.pipelines.launch", "tests.pipelines.warm"])


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal that killed it) and what it wrote."""

    code: int
    out: str
    err: str


class Started:
    """One running `python -m module arguments…` in the folder `cwd`."""

    def __init__(self, process: Any, out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    def wait(self) -> Ended:
        self.process.join(LIMIT_S)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after {LIMIT_S} s; stderr: {self._err.read_text()}")
        return Ended(self.process.exitcode, self._out.read_text(), self._err.read_text())

    def until(self, condition: Callable[[], bool]) -> "Started":
        """Wait until `condition()` holds; the process must still run then."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.exitcode is None, f"ended too early: {self._err.read_text()}"
            assert time.monotonic() < end, f"did not come so far in {LIMIT_S} s"
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


def run(module: str, *arguments: str, cwd: Path, before: Callable[[], None] | None = None) -> Ended:
    """Run `python -m module arguments…` to its end."""
    return launch(module, *arguments, cwd=cwd, before=before).wait()


def command(module: str, *arguments: str, cwd: Path) -> Ended:
    """Do the same without any shortcut, as a shell does, with the imports that this takes."""
    words = [sys.executable, "-m", module, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=2 * LIMIT_S)
    return Ended(done.returncode, done.stdout, done.stderr)


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
