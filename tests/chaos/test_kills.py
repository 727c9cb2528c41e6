"""SIGKILL at random moments, resumed until the run is finished: metrics.csv is that of the undisturbed run."""

import random
import shutil
import signal
from functools import partial

import pytest

from tests.chaos.moments import kill_after
from tests.chaos.runs import PRESETS, Figures, finished, go_on, undisturbed

KILLS, SEED = 200, 2  # over all presets


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_many_kills(preset, tmp_path):
    rng, figures = random.Random(f"{SEED} {preset}"), Figures(f"SIGKILL at random moments: {preset}")
    whole, kills = undisturbed(tmp_path / "whole", PRESETS[preset]), -(-KILLS // len(PRESETS))
    cwd = tmp_path / "killed"
    while figures.counts["kills"] < kills or cwd.exists():
        before = None
        if figures.counts["kills"] < kills:
            before = partial(kill_after, rng.uniform(0, 1.2 * whole.seconds))
        ended = go_on(cwd, whole, before)
        if ended.code == -signal.SIGKILL:
            figures.counts["kills"] += 1
            continue
        figures.expect(finished(ended), f"after {figures.counts['kills']} kills", ended)
        figures.expect((cwd / "run" / "metrics.csv").read_bytes() == whole.metrics, "other metrics")
        figures.counts["runs that came to their end, metrics byte-equal"] += not figures.faults
        shutil.rmtree(cwd)
    figures.show()
