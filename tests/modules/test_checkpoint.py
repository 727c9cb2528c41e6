import os
import pickle
import random

import numpy as np
import pytest
import torch

from modules import checkpoint
from modules.seeding import random_state, seed_everything, set_random_state
from modules.spec import UsageError

STATE = {
    "frames": 12,
    "learner": {"weights": torch.arange(5.0), "updates": 3},
    "score": None,
    "sums": {"a": 0.1},
    "list": [1, (2.5, "x")],
}


def test_roundtrip(tmp_path):
    path = checkpoint.save(tmp_path / "new", 12, STATE, keep=1)
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["learner"].pop("weights"), torch.arange(5.0))
    assert {key: loaded[key] for key in STATE} == {**STATE, "learner": {"updates": 3}}


def test_random_streams_survive_the_file(tmp_path):
    def draw():
        return random.random(), np.random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()  # noqa: NPY002

    seed_everything(1)
    draw()
    path = checkpoint.save(tmp_path, 0, {"random": random_state()}, keep=1)
    expected = draw()
    seed_everything(2)
    assert draw() != expected
    set_random_state(checkpoint.load(path)["random"])
    assert draw() == expected


def test_the_newest_are_kept(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"")
    for frames in (20, 100, 999, 3_000, 1_000_000):
        checkpoint.save(tmp_path, frames, STATE, keep=2)
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == [
        "frames_000000003000.pt",
        "frames_000001000000.pt",
    ]
    assert checkpoint.latest(tmp_path).name == "frames_000001000000.pt"
    assert (tmp_path / "best.pt").exists()


def test_saving_again_at_the_same_frame_replaces(tmp_path):
    for score in (1, 2):
        path = checkpoint.save(tmp_path, 5, {"score": score}, keep=2)
    assert checkpoint.load(path)["score"] == 2
    assert len(checkpoint.list_checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_previous_checkpoint(tmp_path, monkeypatch, moment):
    checkpoint.save(tmp_path, 1, STATE, keep=1)

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(os, moment, kill)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 2, STATE, keep=1)
    assert not [path for path in tmp_path.iterdir() if "2" in path.name]
    assert checkpoint.latest(tmp_path).name == "frames_000000000001.pt"
    assert checkpoint.load(checkpoint.latest(tmp_path))["frames"] == 12
    # The leftover is in nobody's way.
    assert checkpoint.load(checkpoint.save(tmp_path, 2, STATE, keep=1))["frames"] == 12
    assert not list(tmp_path.glob("*.part"))


def test_the_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order = []

    def noting(name):
        real = getattr(os, name)
        return lambda *args: (order.append(name), real(*args))

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name))
    checkpoint.save(tmp_path, 1, STATE, keep=1)
    assert order[:2] == ["fsync", "replace"]


def test_other_files_are_no_checkpoints(tmp_path):
    for name in ("frames_1.part", "frames_x.pt", "frames_.pt", "xframes_1.pt", "frames_1.pt.bak"):
        (tmp_path / name).write_bytes(b"")
    assert checkpoint.list_checkpoints(tmp_path) == []
    with pytest.raises(UsageError, match="no checkpoint"):
        checkpoint.latest(tmp_path)
    with pytest.raises(UsageError, match="no checkpoint"):
        checkpoint.latest(tmp_path / "missing")


def test_every_truncation_is_refused(tmp_path):
    whole = checkpoint.save(tmp_path, 1, STATE, keep=1).read_bytes()
    cut = tmp_path / "cut.pt"
    for size in [0, 1, 4, *range(16, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(UsageError, match="not a readable checkpoint"):
            checkpoint.load(cut)


@pytest.mark.parametrize(
    "content",
    [
        b"just text\n",
        b"hello\n",
        b"seed: 0\n",
        b"r",
        b"\x80\x04garbage",
        b"PK\x03\x04" + bytes(100),
        bytes(1000),
        pickle.dumps({"format": "recall-checkpoint", "version": 1}),
        pickle.dumps([1, 2, 3], protocol=0),
    ],
)
def test_foreign_bytes_are_refused(tmp_path, content):
    path = tmp_path / "frames_1.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weights": torch.zeros(2)}, "not a checkpoint of this program"),
        ([1, 2], "not a checkpoint of this program"),
        ({"format": "recall-checkpoint", "version": 2}, "version 2, but this program reads version 1"),
        ({"format": "recall-checkpoint"}, "version"),
    ],
)
def test_foreign_torch_files_are_refused(tmp_path, state, message):
    path = tmp_path / "frames_1.pt"
    torch.save(state, path)
    with pytest.raises(UsageError, match=message):
        checkpoint.load(path)


def test_missing_file_and_directory_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "frames_1.pt")
    with pytest.raises(UsageError):
        checkpoint.load(tmp_path)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [True, False])
def test_no_code_is_run(tmp_path, legacy):
    trace, path = tmp_path / "trace", tmp_path / "frames_1.pt"
    torch.save(
        {"format": "recall-checkpoint", "version": 1, "x": Evil(trace)}, path, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(UsageError):
        checkpoint.load(path)
    assert not trace.exists()
    # The file is as dangerous as it should be.
    torch.load(path, weights_only=False)
    assert trace.exists()
