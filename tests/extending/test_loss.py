"""A loss of one's own with a metric of its own, in a file outside of Recall."""

import csv
import signal
from functools import partial

from tests.extending.test_callback import die, go
from tests.pipelines import deaths

FILE = '''
from modules.losses.q import QLoss, QLossSpec
from modules.metrics import Metric
from modules.spec import spec


@spec
class ShrunkSpec(QLossSpec):
    """Q-learning with a penalty on the size of the values.

    Attributes:
        penalty: its weight.
    """

    metrics = (*QLossSpec.metrics, Metric("loss/penalty", "loss", "mean squared value times the weight"))

    penalty: float

    def build(self, network, rows):
        return Shrunk(network, self, rows)


class Shrunk(QLoss):
    def forward(self, rows):
        out = super().forward(rows)
        penalty = self.settings.penalty * self.unroll(rows, "online").square().mean()
        return out.set("loss", out["loss"] + penalty).set("penalty", penalty.detach())
'''
WORDS = ("+exp=drqn_cartpole_masked", "+debug=smoke", "threads=1", "video=false", "eval_episodes=2", "total_frames=240")
WORDS += ("eval_every=80", "log_every=20", "save_every=80", "hydra.run.dir=run", "plugins=[shrunk]")
WORDS += ("loss._target_=shrunk.ShrunkSpec", "+loss.penalty=0.1")


def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "shrunk.py").write_text(FILE)
    assert go(tmp_path, "train", *WORDS).code == 0
    expected = (tmp_path / "run" / "metrics.csv").read_bytes()
    rows = list(csv.DictReader(expected.decode().splitlines()))
    assert float(rows[-1]["loss/penalty"]) > 0
    assert go(tmp_path, "evaluate", "run=run", "episodes=2", "plugins=[shrunk]").code == 0
    assert go(tmp_path, "export", "run=run", "plugins=[shrunk]").code == 0
    (tmp_path / "run").rename(tmp_path / "whole")
    killed = go(tmp_path, "train", *WORDS, before=partial(die, partial(deaths.in_step, 110)))
    assert killed.code == -signal.SIGKILL
    assert go(tmp_path, "resume", "run=run", "plugins=[shrunk]").code == 0
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == expected
