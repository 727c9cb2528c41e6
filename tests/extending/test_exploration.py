"""An exploration rule of one's own."""

import pytest

from tests.extending.recipe import trains_and_all

FILE = '''
import torch

from modules.exploration import Exploration, ExplorationSpec
from modules.metrics import Metric
from modules.spec import spec


@spec
class SecondBestSpec(ExplorationSpec):
    """Takes the second best action with a probability that falls with 1 / frames.

    Attributes:
        until: frames after which it is halved.
    """

    metrics = (Metric("train/second_best", "share", "probability of the second best action"),)

    until: int

    def build(self, context):
        return SecondBest(self.until)


class SecondBest(Exploration):
    metric = "train/second_best"

    def __init__(self, until):
        self.until = until
        self.anneal(0)

    def anneal(self, frames):
        self.share = 0.5 / (1 + frames / self.until)
        return self.share

    def choose(self, values):
        second = torch.rand(len(values)) < self.share
        return torch.where(second, values.topk(2).indices[:, 1], values.argmax(-1))

    def probability(self, values, action):
        best = action == values.argmax(-1)
        second = action == values.topk(2).indices[:, 1]
        return best * (1 - self.share) + second * self.share
'''
WORDS = ("exploration=eps_greedy", "exploration._target_=second.SecondBestSpec", "+exploration.until=100")
WORDS += ("~exploration.start", "~exploration.end", "~exploration.anneal_frames")


@pytest.mark.slow
def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "second.py").write_text(FILE)
    found = trains_and_all(tmp_path, "second", *WORDS)
    shares = [float(row["train/second_best"]) for row in found if row["train/second_best"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < shares[0] < 0.5
