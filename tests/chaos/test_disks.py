"""A disk that is full or read-only from a random moment on: one sentence, and what was saved continues."""

import errno
import random
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.moments import count_writes, no_files_beyond, refuse_from
from tests.chaos.runs import PRESETS, Figures, command, finished, go_on, orderly, saved, train, undisturbed

DISKS, SEED = 100, 4
WORDS = PRESETS["state"]
READERS = {  # of a finished run, and what they print when they have computed it
    "evaluate": (("pipelines.evaluate", "run=run", "episodes=2", "steps=csv"), r"mean +\d"),
    "export": (("pipelines.export", "run=run"), ""),
    "report": (("pipelines.report", "run"), r"\| "),
}


@pytest.mark.slow
def test_many_disks(tmp_path):
    disturb(tmp_path, DISKS, ("train", *READERS))


def test_a_disk(tmp_path):
    disturb(tmp_path, 1, ("train",))


def disturb(place: Path, disks: int, commands: tuple[str, ...]) -> None:
    rng, figures = random.Random(SEED), Figures("Full and read-only disks at random moments")
    whole = undisturbed(place / "whole", WORDS)
    writes = {}
    for i in range(disks):
        name = commands[0] if i % 5 < 3 else rng.choice(commands)
        if name not in writes:
            writes[name] = counted(place / f"count_{name}", name, whole)
        kind = rng.choice((errno.ENOSPC, errno.EROFS, errno.EFBIG))
        if kind == errno.EFBIG:
            before, what = partial(no_files_beyond, size := rng.randrange(200_000)), f"{i}: {name}, files of {size}"
        else:
            before, what = (
                partial(refuse_from, nth := rng.randint(1, writes[name]), kind),
                f"{i}: {name}, {errno.errorcode[kind]} from write {nth} of {writes[name]}",
            )
        cwd = place / str(i)
        figures.counts[f"{name}, {errno.errorcode[kind]}"] += 1
        if name == "train":
            check_training(cwd, whole, before, what, figures)
        else:
            shutil.copytree(whole.run_dir.parent, cwd)
            words, printed = READERS[name]
            ended = command(cwd, *words, before=before)
            figures.expect(orderly(ended, (0, 1, 2)), what, ended)
            figures.expect(ended.code == 0 or ended.err.count("\n") == 1, f"{what}: not one sentence", ended)
            # Exit code 2: refused before anything was computed.
            figures.expect(ended.code == 2 or bool(re.search(printed, ended.out)), f"{what}: not printed", ended)
        shutil.rmtree(cwd, ignore_errors=True)
    figures.show()


def counted(cwd: Path, name: str, whole) -> int:
    """Count the writes of a command that nothing disturbs."""
    note = cwd.with_name(f"{cwd.name}_writes")
    if name == "train":
        ended = train(cwd, whole.words, partial(count_writes, note))
    else:
        shutil.copytree(whole.run_dir.parent, cwd)
        ended = command(cwd, *READERS[name][0], before=partial(count_writes, note))
    assert ended.code == 0, ended
    return int(note.read_text())


def check_training(cwd: Path, whole, before, what: str, figures: Figures) -> None:
    """Train on a disk that fills up; then, with room again, continue from what was saved."""
    ended = train(cwd, whole.words, before)
    figures.expect(orderly(ended, (0, 1, 2)), what, ended)
    said = ended.out + ended.err
    if ended.code:
        one = re.search(r"^error: .+|failed at frame|before training began", said, re.MULTILINE)
        figures.expect(one is not None, f"{what}: no sentence", ended)
        figures.counts["trainings that ended with a sentence"] += 1
    if claimed := re.search(r"traceback in (.+?)\)", said):
        figures.expect(Path(claimed[1]).exists(), f"{what}: no {claimed[1]}", ended)
    at = saved(cwd / "run") if (cwd / "run").exists() else None  # raises if the newest one is not whole
    figures.expect(not (re.search("failed at frame 0:", said) and "resume" in said), f"{what}: sent to resume", ended)
    resumed = go_on(cwd, whole) if ended.code else ended
    figures.expect(finished(resumed), f"{what}: resumed at {at}", resumed)
    same = (cwd / "run" / "metrics.csv").read_bytes() == whole.metrics
    figures.counts["trainings that ended as if undisturbed, metrics byte-equal"] += same
    figures.expect(same, f"{what}: other metrics, resumed at {at}", ended)
