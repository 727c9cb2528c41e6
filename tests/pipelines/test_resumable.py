"""What a run continues from: the newest whole checkpoint, if it is its own and possible, and rows that are there."""

import json
import logging
import math
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from modules import checkpoint
from modules.replay.specs import SequenceSpec
from modules.spec import UsageError
from pipelines import resume
from pipelines.agent.trained_agent import load_run
from pipelines.api import compose, load, train
from pipelines.training.build import replay_of
from pipelines.training.pictures import missing_pictures

SMALL = (
    "+debug=smoke",
    "video=false",
    "save_every=40",
    "eval_every=0",
    "eval_episodes=1",
    "threads=1",
    "total_frames=160",
)
ROWS = ("+exp=r2d2_memory_len", *SMALL, "env.length=10", "replay.overlap=5", "replay.burn_in=5", "replay.ratio=0.5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished run of prioritised rows, with checkpoints of four saves."""
    folder = tmp_path_factory.mktemp("resumable") / "run"
    train(compose(*ROWS, "keep_checkpoints=9"), run_dir=folder, bar=False)
    return folder


@pytest.fixture
def run_dir(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def go_on(run_dir: Path, **given) -> None:
    resume.resume(resume.Resume(run=run_dir, changes=given, plugins=()), bar=False)


def paths(run_dir: Path) -> list[Path]:
    return checkpoint.list_checkpoints(run_dir / "checkpoints")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle, where weights are."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def rewrite(path: Path, **changes) -> None:
    checkpoint.write(path, checkpoint.load(path) | changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(run_dir: Path, **given) -> str:
    """Resume, which must be refused with one sentence and change nothing."""
    before = contents(run_dir)
    with pytest.raises(UsageError) as said:
        go_on(run_dir, **{"total_frames": 200, **given})
    assert contents(run_dir) == before
    assert "\n" not in str(said.value)
    return str(said.value)


@pytest.mark.parametrize("damage", [halve, flip], ids=["cut", "bit"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_what_it_had_repeated(damage, run_dir, whole, caplog):
    damage(paths(run_dir)[-1])
    with caplog.at_level(logging.WARNING):
        go_on(run_dir)
    assert "frames_000000000160.pt is damaged: continuing from frame 120" in caplog.text
    assert (run_dir / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert checkpoint.load(paths(run_dir)[-1])["frames"] == 160
    mine, theirs = (checkpoint.load(paths(folder)[-1])["network"] for folder in (run_dir, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_damaged_ones_of_later_frames_are_gone_with_the_next_save(tmp_path):
    for frames in (20, 40, 60):
        checkpoint.save(tmp_path, frames, {"frames": frames}, keep=3)
    checkpoint.save(tmp_path, 30, {"frames": 30}, keep=2)
    assert [path.stem[-2:] for path in checkpoint.list_checkpoints(tmp_path)] == ["20", "30"]


def test_without_a_whole_one_the_sentence_says_so(run_dir):
    for path in paths(run_dir):
        halve(path)
    assert "no older checkpoint is readable either" in refused(run_dir)


def test_rows_that_were_written_over_are_not_taken_for_those_of_an_older_checkpoint(run_dir):
    mark = run_dir / "replay" / "written"
    run, _ = load_run(run_dir, ())
    ring = run.replay.ring_rows(run.save_every, run.collector.frames_per_batch)
    run_id, _ = struct.unpack("<32sq", mark.read_bytes())
    mark.write_bytes(struct.pack("<32sq", run_id, ring + 1))
    assert "rows that the checkpoint needs have been overwritten" in refused(run_dir)
    mark.write_bytes(struct.pack("<32sq", run_id, ring))
    go_on(run_dir, total_frames=200)


def test_without_a_mark_each_newer_checkpoint_may_have_filled_an_interval(run_dir, monkeypatch):
    """The mark of a run of before is made when it is resumed."""
    run, _ = load_run(run_dir, ())
    state = checkpoint.load(paths(run_dir)[1])
    assert isinstance(run.replay, SequenceSpec)
    interval = run.replay.interval_rows(run.save_every, run.collector.frames_per_batch)
    newer = len(paths(run_dir)) - 2
    assert newer == 3
    made = {}

    class Mark:
        def __init__(self, directory, **settings):
            made.update(settings)

        def __getattr__(self, name):
            return lambda *_, **__: None

    monkeypatch.setattr("modules.replay.sequence.Mark", Mark)
    monkeypatch.setattr(
        "modules.replay.sequence.SequenceReplay.refuse_damage", lambda self, saved: made.update(saved=saved)
    )
    replay_of(run, run_dir, "", state)
    assert made["written"] == state["replay"]["written"] + (1 + newer) * interval
    assert made["saved"] == state["replay"]


@pytest.mark.parametrize("content", [b"", b"x", bytes(39), b"\xff" * 40, bytes(40)])
def test_a_mark_that_is_not_this_runs_is_refused(content, run_dir):
    (run_dir / "replay" / "written").write_bytes(content)
    assert "replay" in refused(run_dir)


def test_another_seeds_checkpoint_is_refused(run_dir, whole, tmp_path):
    other = tmp_path / "other"
    train(compose(*ROWS, "seed=5", "total_frames=80"), run_dir=other, bar=False)
    shutil.copy(paths(other)[-1], run_dir / "checkpoints" / "frames_000000000200.pt")
    assert "is at" not in (said := refused(run_dir, total_frames=400))
    assert "not a checkpoint that" in said
    shutil.copy(paths(other)[-1], run_dir / "checkpoints" / "frames_000000000080.pt")
    for path in paths(run_dir)[3:]:
        path.unlink()
    assert "a checkpoint of another run" in refused(run_dir)
    shutil.copy(other / "checkpoints" / "best.pt", run_dir / "checkpoints" / "best.pt")
    with pytest.raises(UsageError, match=r"best.pt: a checkpoint of another run"):
        load(run_dir)
    shutil.rmtree(run_dir / "replay")
    shutil.copytree(other / "replay", run_dir / "replay")
    shutil.copy(paths(whole)[-1], paths(run_dir)[-1].with_name("frames_000000000160.pt"))
    assert "is that of another run" in refused(run_dir)


def test_a_run_that_was_begun_without_an_identity_goes_on(run_dir):
    """As all runs of before."""
    (run_dir / "replay" / "written").unlink()
    summary = json.loads((run_dir / "summary.json").read_text())
    del summary["run_id"]
    (run_dir / "summary.json").write_text(json.dumps(summary))
    for path in (*paths(run_dir), run_dir / "checkpoints" / "best.pt"):
        state = checkpoint.load(path)
        del state["run_id"]
        checkpoint.write(path, state)
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("plugins: []\n", ""))
    load(run_dir)
    go_on(run_dir, total_frames=200)
    assert checkpoint.load(paths(run_dir)[-1])["run_id"] == ""


COUNTERS = {"frames": 160, "episodes": 1}
WRONG = {
    "best": lambda path: shutil.copy(path.with_name("best.pt"), path),
    "negative": lambda path: rewrite(path, frames=-160),
    "text": lambda path: rewrite(path, frames="160"),
    "boolean": lambda path: rewrite(path, frames=True),
    "renamed": lambda path: rewrite(path, frames=159),
    "counters": lambda path: rewrite(path, counters=[1, 2]),
    "counter": lambda path: rewrite(path, counters={**COUNTERS, "episodes": "1"}),
    "unknown": lambda path: rewrite(path, counters={**COUNTERS, "epochs": 1}),
    "infinite": lambda path: rewrite(path, counters={**COUNTERS, "updates_due": math.inf}),
    "backwards": lambda path: rewrite(path, counters={**COUNTERS, "restarts": -1}),
    "future": lambda path: rewrite(path, counters={**COUNTERS, "evaluated_at": 161}),
    "arm": lambda path: rewrite(path, arm=3),
    "random": lambda path: rewrite(path, random={"python": 1}),
    "logger": lambda path: rewrite(path, logger={"metrics_csv": -5}),
    "network": lambda path: rewrite(path, network={}),
    "network text": lambda path: rewrite(path, network={"a": "b"}),
    "learner": lambda path: rewrite(path, learner={"network": 3}),
    "rows": lambda path: rewrite(path, replay={"written": -1, "sampler": {}}),
    "no rows": lambda path: rewrite(path, replay={}),
    "more rows": lambda path: rewrite(path, replay={"written": 10**15, "sampler": {}}),
    "sampler": lambda path: rewrite(path, replay={"written": 3, "sampler": {"written": 3}}),
    "measures": lambda path: rewrite(path, measures={"sums": {"loss/q": math.nan}, "counts": {"loss/q": 1}}),
    "callbacks": lambda path: rewrite(path, callbacks={"episodes": {"returns": []}}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_checkpoint_that_this_run_cannot_have_written_is_one_sentence(wrong, run_dir):
    wrong(paths(run_dir)[-1])
    assert "Traceback" not in refused(run_dir)


@pytest.mark.parametrize(
    ("name", "value"),
    [("frames", -1), ("arm", 1), ("arm", "0"), ("network", None), ("intrinsic_model", 3), ("intrinsic_reward", [1])],
)
def test_a_policy_that_no_run_saved_is_one_sentence(name, value, run_dir):
    rewrite(run_dir / "checkpoints" / "best.pt", **{name: value})
    with pytest.raises(UsageError, match=r"best.pt: not a checkpoint that can be evaluated"):
        load(run_dir)


def test_a_checkpoint_that_inflates_is_damaged(tmp_path):
    import zipfile

    path = tmp_path / "frames_1.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(checkpoint.Damaged):
        checkpoint.load(path)


FIELDS = {
    "before forward": ("before", np.int64, 10**6),
    "before negative": ("before", np.int64, -2),
    "before itself": ("before", np.int64, 0),
    "action": ("action", np.uint8, 200),
    "mask": ("mask", np.uint8, 2),
    "no step": ("mask", np.uint8, 0),
    "terminated": ("terminated", np.uint8, 255),
    "reward": ("reward", np.float32, np.nan),
    "observation": ("observation", np.float32, np.inf),
    "previous action": ("previous_action", np.int64, 99),
}


@pytest.mark.parametrize(("name", "kind", "value"), FIELDS.values(), ids=FIELDS)
def test_rows_that_no_run_writes_are_refused_before_anything_loops(name, kind, value, run_dir):
    file = run_dir / "replay" / f"{name}.memmap"
    if not file.exists():
        pytest.fail(f"{file.name} is none of {sorted(path.name for path in file.parent.iterdir())}")
    rows = np.memmap(file, kind, "r+")
    run, _ = load_run(run_dir, ())
    ring = run.replay.ring_rows(run.save_every, run.collector.frames_per_batch)
    rows.reshape(ring, -1)[0] = value
    rows.flush()
    del rows
    assert f"{name}.memmap: damaged, for row 0 holds what no run writes" in refused(run_dir)


def test_a_finished_run_without_its_pictures_draws_them(run_dir):
    run, _ = load_run(run_dir, ())
    picture = run_dir / "learning_curve.png"
    before = json.loads((run_dir / "summary.json").read_text())
    metrics, drawn = (run_dir / "metrics.csv").read_bytes(), picture.read_bytes()
    picture.unlink()
    assert missing_pictures(run, run_dir, 160) == [picture]
    go_on(run_dir)
    assert picture.read_bytes() == drawn
    after = json.loads((run_dir / "summary.json").read_text())
    assert (run_dir / "metrics.csv").read_bytes() == metrics
    assert {**after, "wall_s": 0, "commit": 0} == {**before, "wall_s": 0, "commit": 0}
    assert "is at frame 160 already" in refused(run_dir, total_frames=160)
    os.remove(picture)
    assert "give a larger total_frames" in refused(run_dir, total_frames=100)
