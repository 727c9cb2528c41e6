"""Whoever reads the output may stop reading; nobody is told twice, and least of all in a traceback."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from benchmarks import __main__ as benchmark
from pipelines import report
from tests.pipelines.launch import ROOT

GONE = 128 + 13  # the exit code of a program that SIGPIPE ends


def left_alone(*words, cwd, typed=""):
    """Run a command whose output is closed after its first line; return line, exit code and stderr."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": ""}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-m", *words], cwd=cwd, env=env, text=True, **streams)
    line = process.stdout.readline()
    process.stdout.close()
    process.stdin.write(typed)
    process.stdin.close()
    process.stdout = None
    return line, process.wait(60), process.stderr.read()


def test_play_ends_quietly(tmp_path):
    line, code, err = left_alone("pipelines.play", "env=tour", "env.task=tmaze_both", cwd=tmp_path, typed="e" * 50)
    assert line.startswith("#####")
    assert (code, err) == (GONE, "")


@pytest.mark.parametrize("written", ["write('x' * 10)", "with while_read(): sys.stdout.write('x' * 10)"])
def test_what_waits_in_the_buffer_does_not_complain_either(tmp_path, written):
    program = f"import sys; from pipelines.console.output import *; print(1, flush=True); sys.stdin.read()\n{written}"
    (tmp_path / "program.py").write_text(program)
    assert left_alone("program", cwd=tmp_path) == ("1\n", GONE, "")


@contextmanager
def nobody_reads(monkeypatch, capfd):
    """Let standard output be a pipe that nobody reads; what runs must end as SIGPIPE ends a program, in silence."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:  # closing complains if something is still on its way
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            yield
    assert ended.value.code == GONE
    assert capfd.readouterr().err == ""


def test_a_report_ends_quietly(make_run, tmp_path, monkeypatch, capfd):
    with nobody_reads(monkeypatch, capfd):
        report.main([str(make_run("one", 5.0)), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "report.md").is_file()


def test_a_benchmark_ends_quietly_and_measures_no_further(monkeypatch, capfd):
    measured = []
    monkeypatch.setattr(benchmark, "report", lambda name, pace: measured.append(name) or [name])
    with nobody_reads(monkeypatch, capfd):
        benchmark.main(["learner", "replay"])
    assert measured == []  # what stands above the sections had no reader
