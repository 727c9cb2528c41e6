"""The ring on disk: what is damaged or does not fit is refused."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from modules.replay.ring import GIB, readable, refuse_what_does_not_fit
from modules.spec import UsageError
from tests.modules.replay.test_sequence import fill, make


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("observation.memmap", cut, "observation.memmap: 100 bytes instead of"),
        ("observation.memmap", lambda path: path.open("ab").write(b"more"), "observation.memmap: .* bytes instead of"),
        ("mask.memmap", Path.unlink, "mask.memmap: missing"),
        ("meta.json", cut, "meta.json: damaged"),
        ("meta.json", lambda path: path.write_text("[1]"), "meta.json: damaged"),
        ("meta.json", lambda path: path.write_text('{"mask": {}}'), "meta.json: damaged"),
    ],
)
def test_damaged_ring_is_refused(tmp_path, name, damage, sentence):
    fill(make(tmp_path), range(3))
    damage(tmp_path / name)
    with pytest.raises(UsageError, match=sentence):
        make(tmp_path)


def test_systems_that_cannot_claim_disk_do_without(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")  # as on macOS
    replay = make(tmp_path)
    fill(replay, range(3))
    assert len(replay) > 0


@pytest.mark.parametrize(("disk", "memory", "fits"), [(3, 1, True), (1, 3, False), (1, 1, False), (2, 0, True)])
def test_refuse_what_does_not_fit(tmp_path, monkeypatch, disk, memory, fits):
    asked = []

    def disk_usage(path):
        asked.append(path)
        return SimpleNamespace(free=disk * GIB)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=memory * GIB))
    target = tmp_path / "not" / "yet" / "there"
    if fits:
        refuse_what_does_not_fit(2 * GIB, target)
    else:
        with pytest.raises(UsageError, match=r"takes 2\.0 GiB.*1\.0 GiB of disk"):
            refuse_what_does_not_fit(2 * GIB, target)
    assert asked == [tmp_path]


def test_the_disk_that_a_resumed_runs_ring_holds_is_its_own(tmp_path, monkeypatch):
    """Free disk and what the run has already, together, must hold the ring and the checkpoints."""
    ring, checkpoints = tmp_path / "replay", tmp_path / "checkpoints"
    ring.mkdir()
    fill(make(ring), range(3))
    held = sum(path.stat().st_blocks * 512 for path in ring.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    refuse_what_does_not_fit(held + 4096, ring)
    with pytest.raises(UsageError, match=r"replay\.capacity"):
        refuse_what_does_not_fit(held + 4097, ring)
    with pytest.raises(UsageError, match="lower keep_checkpoints"):
        refuse_what_does_not_fit(held, ring, beside=2 * 4096)
    checkpoints.mkdir()
    (checkpoints / "frames_000000000040.pt").write_bytes(bytes(4096))
    refuse_what_does_not_fit(held, ring, beside=2 * 4096)


@pytest.mark.parametrize(
    ("size", "text"), [(3 * GIB // 2, "1.5 GiB"), (GIB // 8, "0.1 GiB"), (102 * 2**20, "102.0 MiB"), (2**19, "0.5 MiB")]
)
def test_sizes_are_told_in_gib_small_ones_in_mib(size, text):
    assert readable(size) == text
