"""Checkpoints and replay files, cut or with a bit flipped: one sentence, or a right continuation; nothing executed."""

import random
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.moments import kill_after, note_what_is_executed
from tests.chaos.runs import FRAMES, PRESETS, Figures, command, orderly, saved, train, undisturbed
from tests.pipelines.launch import Ended

DAMAGES, SEED = 200, 3
ENDS = ("frames_*.pt", "best.pt", "*.memmap", "meta.json")
WORDS = PRESETS["priorities"]


@pytest.mark.slow
def test_many_damages(tmp_path):
    disturb(tmp_path, DAMAGES)


def disturb(place: Path, damages: int) -> None:
    rng, figures = random.Random(SEED), Figures("Damaged checkpoints and replay files")
    whole = undisturbed(place / "whole", WORDS)
    broken = place / "broken"
    share = 0.95
    while not saved(broken / "run") or saved(broken / "run") == FRAMES:  # interrupted in the middle
        shutil.rmtree(broken, ignore_errors=True)
        assert train(broken, WORDS, partial(kill_after, share * whole.seconds)).code in (0, -signal.SIGKILL)
        share *= 0.9
    originals = {"finished": whole.run_dir.parent, "interrupted": broken}
    expected = {kind: gone_on(shutil.copytree(origin, place / f"{kind}_whole")) for kind, origin in originals.items()}
    for i in range(damages):
        kind = rng.choice(sorted(originals))
        cwd = place / str(i)
        shutil.copytree(originals[kind], cwd)
        path = rng.choice(sorted(p for end in ENDS for p in (cwd / "run").rglob(end)))
        how = damage(path, rng)
        what = f"{i}: {kind}, {path.name} {how}"
        for name, (ended, result) in gone_on(cwd).items():
            right = result == expected[kind][name][1]
            if ended.code == 0 and not right and path.suffix == ".memmap" and "flipped" in how:
                figures.counts[f"{name}: continued with another number in a stored row, which no checksum guards"] += 1
            elif ended.code == 0:
                figures.counts[f"{name}: continued"] += 1
                figures.expect(right, f"{what}, {name}: continued, but wrongly", ended)
            else:
                figures.counts[f"{name}: a sentence"] += 1
                sentence = ended.err.startswith("error: ") and ended.err.count("\n") == 1
                figures.expect(sentence or "failed at frame" in ended.out, f"{what}, {name}: no sentence", ended)
            figures.expect(orderly(ended, (0, 1, 2)), f"{what}, {name}", ended)
        figures.expect(not (cwd / "executed").read_text(), f"{what}: {(cwd / 'executed').read_text()[:200]}")
        shutil.rmtree(cwd)
    figures.counts["damages"] = damages
    figures.show()


def gone_on(cwd: Path) -> dict[str, tuple[Ended, bytes]]:
    """Evaluate and resume the run; return how both ended, and what came of them."""
    before = partial(note_what_is_executed, cwd / "executed")
    evaluated = command(cwd, "pipelines.evaluate", "run=run", "episodes=2", before=before)
    resumed = command(cwd, "pipelines.resume", "run=run", f"total_frames={FRAMES + 80}", before=before)
    return {
        "evaluate": (evaluated, evaluated.out.encode()),
        "resume": (resumed, (cwd / "run" / "metrics.csv").read_bytes()),
    }


def damage(path: Path, rng: random.Random) -> str:
    """Cut the file or flip a bit of it; say which."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if rng.random() < 0.5:
        path.write_bytes(content[:at])
        return f"cut to {at} of {len(content)} bytes"
    content[at] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"with a bit of byte {at} of {len(content)} flipped"
