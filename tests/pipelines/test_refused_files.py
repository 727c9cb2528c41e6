"""What the file system refuses is one sentence in every command, and what was computed is printed all the same."""

import errno
import json
import os
import re
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmark
from modules import checkpoint, files
from modules.spec import UsageError
from pipelines import api, evaluate, export, report, resume
from pipelines.config import settings_page
from pipelines.console.command import RunFailed
from tests.pipelines import faulty
from tests.pipelines.launch import run
from tests.pipelines.saved_runs import MASKED, saved_kind, saved_run

FULL = "No space left on device"
TINY = (MASKED, "+debug=smoke", "video=false", "total_frames=100")


@pytest.fixture
def read_only(monkeypatch):
    """Return what lets nothing be written anywhere, as on a read-only disk, which does not ask who writes."""

    def refused(*_, dir=None, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    def no_replace(source, target, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(source), None, str(target))

    def become():
        monkeypatch.setattr(files.tempfile, "TemporaryFile", refused)
        monkeypatch.setattr(os, "replace", no_replace)

    return become


def one_sentence(capsys, code, ended):
    """Check the exit code and that stderr is one sentence; return stdout and it."""
    assert ended.value.code == code
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.out, output.err


@contextmanager
def no_large_files(size):
    """Let files end at `size` bytes; Python ignores the signal that comes with it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Commands.


def test_an_evaluation_that_cannot_be_written_is_printed_all_the_same(tmp_path, capsys, no_room):
    saved_kind(tmp_path, "lstm")
    assert evaluate.main([f"run={tmp_path}", "episodes=3"]) == 0
    expected = capsys.readouterr().out
    (tmp_path / "evaluation.json").write_text("{}")
    no_room("evaluation.json")
    with pytest.raises(SystemExit) as ended:
        evaluate.main([f"run={tmp_path}", "episodes=3"])
    assert one_sentence(capsys, 1, ended) == (expected, f"error: {tmp_path / 'evaluation.json'}: {FULL}\n")
    assert (tmp_path / "evaluation.json").read_text() == "{}"


def test_so_are_those_of_a_sweep(tmp_path, capsys, no_room):
    for name in ("a", "b"):
        saved_kind(tmp_path / name, "lstm")
    no_room("a/evaluation.json", number=errno.EDQUOT)
    assert evaluate.main([f"run={tmp_path}", "episodes=2"]) == 1
    output = capsys.readouterr()
    assert [line.partition(": return")[0] for line in output.out.splitlines()] == [str(tmp_path / x) for x in "ab"]
    assert output.err == f"error: {tmp_path / 'a' / 'evaluation.json'}: {os.strerror(errno.EDQUOT)}\n"
    assert (tmp_path / "b" / "evaluation.json").exists()


def test_steps_that_cannot_be_written_do_not_cost_the_result(tmp_path, capsys):
    """The disk fills up in the middle, in the temporary files."""
    saved_kind(tmp_path, "lstm")
    assert evaluate.main([f"run={tmp_path}", "episodes=40"]) == 0
    expected = capsys.readouterr().out
    with no_large_files(4096), pytest.raises(SystemExit) as ended:
        evaluate.main([f"run={tmp_path}", "episodes=40", "steps=csv"])
    sentence = f"error: {tmp_path / 'episodes.csv'}: {os.strerror(errno.EFBIG)}\n"
    assert one_sentence(capsys, 1, ended) == (expected, sentence)
    assert not list(tmp_path.glob("episodes.*"))
    assert json.loads((tmp_path / "evaluation.json").read_text())["episodes"] == 40


def test_steps_into_a_folder_that_cannot_be_written_are_refused_before_the_evaluation(
    tmp_path, capsys, read_only, monkeypatch
):
    saved_kind(tmp_path, "lstm")
    monkeypatch.setattr(evaluate, "run_evaluation", None)
    read_only()
    with pytest.raises(SystemExit) as ended:
        evaluate.main([f"run={tmp_path}", "steps=csv"])
    assert one_sentence(capsys, 2, ended) == ("", f"error: run: {tmp_path} cannot be written (Read-only file system)\n")


def test_without_steps_such_a_folder_costs_nothing_but_the_file(tmp_path, capsys, read_only):
    saved_kind(tmp_path, "lstm")
    read_only()
    with pytest.raises(SystemExit) as ended:
        evaluate.main([f"run={tmp_path}", "episodes=2"])
    out, err = one_sentence(capsys, 1, ended)
    assert out.startswith("mean ")
    assert err == f"error: {tmp_path / 'evaluation.json'}: Read-only file system\n"


@pytest.mark.parametrize("size", [0, 20_000])
def test_an_export_does_not_abort_where_there_is_no_room(size, tmp_path, capsys):
    saved_run(tmp_path, MASKED, "network/memory=none")
    assert export.main([f"run={tmp_path}"]) == 0
    capsys.readouterr()
    before = (tmp_path / "policy.pt2").read_bytes()
    assert len(before) > size
    with no_large_files(size), pytest.raises(SystemExit) as ended:
        export.main([f"run={tmp_path}"])
    _, err = one_sentence(capsys, 1 if size else 2, ended)
    assert "File too large" in err
    assert (tmp_path / "policy.pt2").read_bytes() == before


def test_a_report_that_cannot_be_written_is_printed(make_run, tmp_path, capsys, no_room):
    arguments = [str(make_run("one", 5.0)), "--out", str(tmp_path / "out")]
    report.main(arguments)
    expected = capsys.readouterr().out.partition("\nWritten")[0]
    page = (tmp_path / "out" / "report.md").read_text()
    no_room("report.md")
    with pytest.raises(SystemExit) as ended:
        report.main(arguments)
    assert one_sentence(capsys, 1, ended) == (expected, f"error: {tmp_path / 'out' / 'report.md'}: {FULL}\n")
    assert (tmp_path / "out" / "report.md").read_text() == page


def test_a_benchmark_that_cannot_be_written_is_printed_and_leaves_the_page_as_it_was(
    tmp_path, monkeypatch, capsys, no_room
):
    (tmp_path / "page.md").write_text("old")
    monkeypatch.setattr(benchmark, "report", lambda name, pace: iter(["one", "two"]))
    no_room("page.md")
    with pytest.raises(OSError, match=f"{FULL}.*page.md"):  # which `command` tells
        benchmark.main(["learner", "--out", str(tmp_path / "page.md")])
    assert capsys.readouterr().out.endswith("onetwo")
    assert (tmp_path / "page.md").read_text() == "old"


@pytest.mark.parametrize(
    "words",
    [
        ("pipelines.config.settings_page",),
        ("pipelines.evaluate", "run=run", "episodes=1"),
        ("pipelines.play", "env=tour"),
    ],
    ids=lambda words: words[0].removeprefix("pipelines."),
)
def test_standard_output_on_a_full_disk_is_a_sentence(words, tmp_path):
    saved_run(tmp_path / "run", MASKED, "network/memory=none")
    ended = run(*words, cwd=tmp_path, before=output_is_full)
    assert (ended.code, ended.err) == (1, f"error: standard output: {FULL}\n")


def output_is_full() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, sys.stdout.fileno())


def test_log_lines_on_a_full_disk_are_lost_and_nothing_else(tmp_path):
    ended = run("pipelines.train", *TINY, "hydra.run.dir=run", cwd=tmp_path, before=output_is_full)
    assert (ended.code, ended.err) == (0, "")
    assert "finished" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_checkpoint_that_cannot_be_read_is_a_sentence_with_the_reason(number, tmp_path, capsys, monkeypatch):
    saved_kind(tmp_path, "none")

    def unreadable(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(checkpoint.zipfile, "ZipFile", unreadable)
    sentence = f"{tmp_path / 'checkpoints' / 'best.pt'}: the checkpoint cannot be read ({os.strerror(number)})"
    for command in (evaluate.main, export.main):
        with pytest.raises(SystemExit) as ended:
            command([f"run={tmp_path}"])
        assert one_sentence(capsys, 2, ended)[1] == f"error: {sentence}\n"
    with pytest.raises(UsageError) as error:
        api.load(tmp_path)
    assert str(error.value) == sentence


def test_a_folder_of_checkpoints_that_nobody_may_read_is_not_an_empty_one(tmp_path, capsys, monkeypatch):
    saved_kind(tmp_path, "none")

    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint.os, "listdir", forbidden)
    with pytest.raises(SystemExit) as ended:
        resume.main([f"run={tmp_path}"])
    assert one_sentence(capsys, 1, ended)[1] == f"error: {tmp_path / 'checkpoints'}: Permission denied\n"
    with pytest.raises(UsageError, match="checkpoints: Permission denied"):
        api.load(tmp_path, "last")


def test_the_settings_page_says_which_file_it_cannot_read(monkeypatch, capsys):
    def forbidden(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(OSError, match=r"Permission denied: .*yaml"):
        settings_page.page()


# Training.


def test_nothing_is_begun_where_nothing_can_be_written(tmp_path, read_only):
    settings = api.compose(*TINY)
    read_only()
    with pytest.raises(UsageError, match=r"cannot be written .Read-only file system"):
        api.train(settings, run_dir=tmp_path / "run", bar=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config.yaml", "frames_*.pt"])
def test_a_disk_that_is_full_at_the_start_sends_nobody_to_resume(name, tmp_path, no_room, caplog):
    no_room(name)
    with pytest.raises((UsageError, RunFailed)) as ended:
        api.train(api.compose(*TINY), run_dir=tmp_path / "run", bar=False)
    text = str(ended.value)
    assert FULL in text
    assert "\n" not in text
    assert "resume" not in text + caplog.text
    if name != "config.yaml":
        assert f"nothing was learned yet: delete {tmp_path / 'run'} and start again" in text


def fail_at(tmp_path, at):
    (tmp_path / "fault").touch()
    faulty.Faulty.steps = 0
    words = ("env.id=tests.pipelines.faulty:Faulty-v0", "env.keep=null", f"+env.kwargs.flag={tmp_path / 'fault'}")
    with pytest.raises(RunFailed) as ended:
        api.train(
            api.compose(*TINY, *words, f"+env.kwargs.at={at}", "save_every=100"), run_dir=tmp_path / "run", bar=False
        )
    return str(ended.value)


def test_the_traceback_is_written_before_the_attempt_to_save(tmp_path, no_room):
    no_room("frames_*[1-9]?.pt")
    text = fail_at(tmp_path, 100)
    assert "RuntimeError: the motor is on fire (traceback in " in text
    assert re.search(rf"saving failed too: {tmp_path}/run/checkpoints/frames_\d+\.pt: {FULL}; continue", text)
    assert text.endswith(" from the last checkpoint")
    assert "the motor is on fire" in (tmp_path / "run" / "error.txt").read_text()


def test_and_is_not_claimed_where_it_could_not_be(tmp_path, no_room):
    no_room("error.txt")
    text = fail_at(tmp_path, 100)
    assert "RuntimeError: the motor is on fire; continue by" in text
    assert "error.txt" not in text
    assert not (tmp_path / "run" / "error.txt").exists()


def test_a_signal_ends_with_its_own_code_even_if_nothing_can_be_saved_or_read(tmp_path):
    ended = run("pipelines.train", *TINY, "hydra.run.dir=run", cwd=tmp_path, before=signalled_without_room)
    assert ended.code == 128 + signal.SIGTERM
    assert "nothing was learned yet: delete" in ended.out
    assert "Traceback" not in ended.out + ended.err


def signalled_without_room() -> None:
    from pipelines.training.loop import Loop

    train = Loop.train

    def stopped(loop):
        os.kill(os.getpid(), signal.SIGTERM)
        train(loop)

    Loop.train = stopped  # type: ignore[method-assign]
