"""Files are whole or as they were; what refuses them is named."""

import errno
import os
from pathlib import Path

import pytest

from modules.files import describe_error, open_itself, refuse_unwritable, write_text, write_whole
from modules.spec import UsageError

FULL = "No space left on device"


def test_the_error_names_the_file_not_what_stands_in_for_it(tmp_path, no_room):
    path = tmp_path / "deep" / "x.json"
    write_text(path, "old")
    no_room("x.json")
    with pytest.raises(OSError, match=FULL) as error:
        write_text(path, "new")
    assert describe_error(error.value) == f"{path}: {FULL}"
    assert (path.read_text(), list(path.parent.iterdir())) == ("old", [path])


def test_an_error_without_a_file_gets_it_and_keeps_its_kind(tmp_path):
    def fill(file):
        raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError) as error:
        write_whole(tmp_path / "x", fill)
    assert describe_error(error.value) == f"{tmp_path / 'x'}: Permission denied"


def test_a_file_that_cannot_be_removed_does_not_hide_what_went_wrong(tmp_path, no_room, monkeypatch):
    no_room("x", number=errno.EIO)

    def unlink(self, missing_ok=False):
        if self.exists():
            raise OSError(errno.EROFS, "Read-only")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_text(tmp_path / "x", "text")


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "text")
    assert os.read(reader, 10) == b"text"
    assert path.is_fifo()
    os.close(reader)


def test_a_link_to_a_pipe_is_replaced_and_the_systems_own_is_not(tmp_path, monkeypatch):
    """A run folder could have one to anything; `--out /dev/stdout` is a link as well."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x.json").symlink_to(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with monkeypatch.context() as patched:
        patched.setattr("modules.files.DEVICES", tmp_path)
        write_text(tmp_path / "x.json", "system")
    assert os.read(reader, 10) == b"system"
    assert (tmp_path / "x.json").is_symlink()
    write_text(tmp_path / "x.json", "text")
    assert os.read(reader, 10) == b""
    os.close(reader)
    assert not (tmp_path / "x.json").is_symlink()


@pytest.mark.parametrize("mode", ["a", "r+", "w", "x"])
def test_a_file_is_opened_itself_or_not_at_all(mode, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "name").hardlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "pipe")
    for name, why in {"link": "a link", "name": "a hard link", "pipe": "no file"}.items():
        with pytest.raises(UsageError, match=f"{name}: {why}"):
            open_itself(tmp_path / name, mode)
    assert (tmp_path / "mine").read_text() == "mine"
    if mode != "r+":
        with open_itself(tmp_path / "new", mode) as file:
            file.write("text")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    os.umask(before := os.umask(0))
    return before


def test_a_failure_without_a_file_says_its_kind_in_one_line():
    assert (
        describe_error(ConnectionRefusedError(111, "Connection refused"))
        == "ConnectionRefusedError: [Errno 111] Connection refused"
    )
    assert describe_error(OSError("first\nsecond")) == "OSError: first second"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda here: here / "file" / "deep", "cannot be a folder, because .*file is a file"),
        (lambda here: here / "nowhere" / "deep", "cannot be a folder, because .*nowhere is a link that leads nowhere"),
        (lambda here: here / "ring", "cannot be a folder, because .*ring is a link that leads nowhere"),
        (lambda here: here / ("long" * 70), "cannot be written .File name too long"),
    ],
    ids=["file", "link", "ring", "name"],
)
def test_a_folder_that_cannot_be_is_refused_and_nothing_is_left(make, says, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("not there")
    (tmp_path / "ring").symlink_to("ring")
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path, *tmp_path.iterdir())}
    with pytest.raises(UsageError, match=f"hydra.run.dir: .*{says}"):
        refuse_unwritable(make(tmp_path), "hydra.run.dir")
    assert before.keys() == {tmp_path, *tmp_path.iterdir()}


def test_a_folder_to_write_in_is_left_as_it_was(tmp_path):
    refuse_unwritable(tmp_path / "new" / "deep", "x")
    refuse_unwritable(tmp_path, "x")
    assert not list(tmp_path.iterdir())
