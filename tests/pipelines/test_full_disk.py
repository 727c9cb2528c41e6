"""A disk that fills up in the middle of a run ends it with one sentence, and nothing that was saved is lost."""

import json
import os
import re
import resource
import signal
from functools import partial

import pytest

from modules import checkpoint
from pipelines.training.loop import Loop
from tests.cases import later
from tests.pipelines.launch import run

SMALL = ("+debug=smoke", "video=false", "save_every=80", "eval_every=0", "total_frames=240", "hydra.run.dir=run")
WORDS = ("+exp=r2d2_memory_len", "env.length=5", *SMALL)


def no_large_files() -> None:
    """Let no file grow beyond what the first checkpoint needs: the next ones also have the optimiser's moments."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_200_000, 2_200_000))


def no_files_after_then_sigterm(frames: int) -> None:
    """The same, and a scheduler that ends the run then."""
    no_files_after(frames)
    learn = Loop._learn

    def learned(loop):
        learn(loop)
        if loop.counters.frames > frames:
            os.kill(os.getpid(), signal.SIGTERM)

    Loop._learn = learned  # type: ignore[method-assign]


def no_files_after(frames: int) -> None:
    """Let there be no room for any new file once the checkpoint of `frames` is there."""
    replace, full = os.replace, False

    def replaced(source, target, **rest):
        nonlocal full
        if full:
            raise OSError(28, "No space left on device")
        replace(source, target, **rest)
        full = str(target).endswith(f"frames_{frames:012d}.pt")

    os.replace = replaced


@pytest.mark.parametrize("before", [later(no_large_files), partial(no_files_after, 80)], ids=["large", "any"])
def test_a_full_disk_ends_the_run_with_a_sentence(before, tmp_path):
    ended = run("pipelines.train", *WORDS, cwd=tmp_path, before=before)
    said = ended.out + ended.err
    assert ended.code == 1
    assert "Traceback" not in said
    assert "failed at frame" in said
    assert re.search(r"failed at frame \d+: \S+/checkpoints/frames_\d+\.pt: \w+", said)
    assert "saving failed too" in said
    goes_on(tmp_path)


def test_a_signal_while_the_disk_is_full_ends_the_run_with_a_sentence(tmp_path):
    ended = run("pipelines.train", *WORDS, cwd=tmp_path, before=partial(no_files_after_then_sigterm, 80))
    said = ended.out + ended.err
    assert ended.code == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert "stopped by SIGTERM at frame" in said
    assert "frames_000000000100.pt: No space left on device; continue by" in said
    goes_on(tmp_path)


def goes_on(tmp_path):
    """Check that the run can be resumed from the checkpoint before the failure."""
    saved = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))["frames"]
    assert run("pipelines.resume", "run=run", cwd=tmp_path).code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [summary["status"], summary["frames"]] == ["finished", 240]
    assert saved < 240
