"""SIGTERM at random moments of a run's life: it ends soon, resumes, and ends as an undisturbed one where promised."""

import json
import random
import signal
import time
from functools import partial

import pytest

from tests.chaos.moments import signal_after
from tests.chaos.runs import (
    FRAMES,
    PRESETS,
    SAVE_EVERY,
    Figures,
    distribution,
    finished,
    go_on,
    orderly,
    train,
    undisturbed,
)

SIGNALS, SEED = 50, 1
ENDS_S = 5
WORDS = (*PRESETS["state"], "video=true", "eval_episodes=10")


@pytest.mark.slow
def test_many_signals(tmp_path):
    disturb(tmp_path, SIGNALS)


def test_a_signal(tmp_path):
    disturb(tmp_path, 1)


def disturb(place, signals: int) -> None:
    rng, figures, waits = random.Random(SEED), Figures("SIGTERM at random moments"), []
    whole = undisturbed(place / "whole", WORDS)
    for i in range(signals):
        cwd, note = place / str(i), place / f"note{i}"
        ended = train(cwd, WORDS, partial(signal_after, rng.uniform(0, whole.seconds), signal.SIGTERM, note))
        over = time.monotonic()
        if not note.exists():
            figures.counts["had ended before"] += 1
            continue
        sent, _, phase = note.read_text().partition(" ")
        figures.counts[f"during {phase}"] += 1
        waits.append(over - float(sent))
        figures.expect(waits[-1] < ENDS_S, f"{i}: {waits[-1]:.1f} s after the signal", ended)
        # Until there is a handler, the signal ends the process as it ends any.
        figures.expect(orderly(ended, (0, 128 + signal.SIGTERM, -signal.SIGTERM)), f"{i}: {phase}", ended)
        path = cwd / "run" / "summary.json"
        summary = json.loads(path.read_text()) if path.exists() else {"status": "running", "frames": 0}
        at_the_end = "the run is finished, and all of it is saved" in ended.out
        figures.expect(
            ended.code != 143 or at_the_end == (summary["status"] == "finished"), f"{i}: not as it says", ended
        )
        if summary["status"] != "finished" or at_the_end:  # then without its film, perhaps
            resumed = go_on(cwd, whole)
            figures.expect(finished(resumed), f"{i}: resumed after {phase}", resumed)
        figures.expect(any((cwd / "run" / "videos").glob("*.mp4")), f"{i}: no film", ended)
        frames = [int(line.split(b",")[0]) for line in (cwd / "run" / "metrics.csv").read_bytes().splitlines()[1:]]
        figures.expect(frames[-1] == FRAMES, f"{i}: ends at {frames[-1]}")
        if summary["frames"] % SAVE_EVERY == 0:  # where the undisturbed run ended its episodes too
            same = (cwd / "run" / "metrics.csv").read_bytes() == whole.metrics
            figures.counts["metrics equal to the undisturbed run's, as promised"] += same
            figures.expect(same, f"{i}: other metrics, stopped at {summary['frames']} during {phase}")
    figures.values |= distribution("from the signal to the end", waits) if waits else {}
    figures.show()
