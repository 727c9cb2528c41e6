"""Who may work in a folder: one process, whether the file system has locks or not."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from modules.spec import UsageError
from pipelines.training.lock import FILE, lock

GONE = 4_194_305  # above every possible number of a process


@pytest.fixture
def no_locks(monkeypatch):
    """Let the file system have no locks, for the reason that is asked for."""

    def without(number=errno.ENOLCK):
        def flock(handle, how):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return without


def holder(folder, **changed):
    held = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    (folder / FILE).write_text(json.dumps(held | changed))


def enter(folder):
    with lock(folder):
        return


def test_a_folder_that_is_locked_is_refused_and_free_afterwards(tmp_path):
    with lock(tmp_path):
        with pytest.raises(UsageError, match="another process is at work there"):
            enter(tmp_path)
        assert not list(tmp_path.iterdir())
    enter(tmp_path)


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL", "EBADF", "EIO", "EPERM"])
def test_without_locks_it_goes_on_with_a_file_and_a_warning(name, no_locks, tmp_path, caplog):
    number = getattr(errno, name)
    no_locks(number)
    with lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [FILE]
        with pytest.raises(UsageError, match=rf"another process is at work there \({os.getpid()}\)"):
            enter(tmp_path)
    assert os.strerror(number) in caplog.records[0].getMessage()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK])
def test_only_would_block_means_another_process(number, no_locks, tmp_path):
    no_locks(number)
    with pytest.raises(UsageError, match="another process is at work there"):
        enter(tmp_path)


def test_the_file_of_a_process_of_this_machine_that_is_gone_does_not_block(no_locks, tmp_path):
    no_locks()
    holder(tmp_path, pid=GONE)
    with lock(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
        assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert not list(tmp_path.iterdir())


def test_nor_does_one_whose_number_another_process_has_by_now(no_locks, tmp_path):
    no_locks()
    holder(tmp_path, started=psutil.Process().create_time() - 3600)  # as after a restart of the machine
    enter(tmp_path)


def test_the_file_of_a_killed_process_does_not_block(no_locks, tmp_path):
    no_locks()
    program = f"""import fcntl, pathlib, time
def flock(*_): raise OSError(38, "no")
fcntl.flock = flock
from pipelines.training.lock import lock
with lock(pathlib.Path({str(tmp_path)!r})): time.sleep(60)"""
    process = subprocess.Popen([sys.executable, "-c", program])
    while not (tmp_path / FILE).exists() or not (tmp_path / FILE).read_text():
        time.sleep(0.01)
    with pytest.raises(UsageError, match=rf"another process is at work there \({process.pid}\)"):
        enter(tmp_path)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:  # dead, though nobody has asked for its end
        time.sleep(0.01)
    enter(tmp_path)
    process.wait()


def test_the_file_of_another_machine_is_a_sentence_that_says_what_to_do(no_locks, tmp_path):
    no_locks()
    holder(tmp_path, host="node17", pid=GONE)
    with pytest.raises(UsageError, match=rf"{FILE}: process {GONE} on node17 is at work there; if it is not any more"):
        enter(tmp_path)
    assert (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"host": "a"}', '{"host": "a", "pid": "x", "started": 1}'])
def test_a_file_that_nobody_can_read_is_a_sentence(text, no_locks, tmp_path):
    no_locks()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UsageError, match="not a lock file of this program; delete it if nothing is at work there"):
        enter(tmp_path)


def test_who_takes_a_dead_lock_in_between_keeps_it(no_locks, tmp_path, monkeypatch):
    no_locks()
    holder(tmp_path, pid=GONE)
    started = psutil.Process

    def quicker(pid):
        (tmp_path / FILE).write_text('{"host": "quicker"}')  # while the dead one is still looked for
        return started(pid)

    monkeypatch.setattr("pipelines.training.lock.psutil.Process", quicker)
    with pytest.raises(UsageError, match="another process is at work there"):
        enter(tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == {"host": "quicker"}
