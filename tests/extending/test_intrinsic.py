"""An intrinsic reward of one's own: counts of rounded observations."""

import pytest

from tests.extending.recipe import trains_and_all

FILE = '''
import torch

from modules.intrinsic.base import IntrinsicModel, IntrinsicReward, IntrinsicSpec
from modules.spec import spec


@spec
class CountsSpec(IntrinsicSpec):
    """scale / √n for the n-th visit of a rounded observation.

    Attributes:
        scale: of the reward.
    """

    scale: float

    def build(self, context):
        return Counts(self.scale)


class Counts(IntrinsicModel):
    def __init__(self, scale):
        self.scale, self.counts = scale, {}

    def acting(self, num_envs):
        return CountsReward(self)

    def state_dict(self):
        return {"counts": dict(self.counts)}

    def load_state_dict(self, state):
        self.counts = dict(state["counts"])


class CountsReward(IntrinsicReward):
    def __init__(self, source):
        self.source, self.total, self.steps = source, 0.0, 0

    def reward(self, observation):
        found = []
        for row in observation.round(decimals=1).tolist():
            key = repr(row)
            self.source.counts[key] = self.source.counts.get(key, 0) + 1
            found.append(self.source.scale / self.source.counts[key] ** 0.5)
        self.total, self.steps = self.total + sum(found), self.steps + len(found)
        return torch.tensor(found)

    def measures(self):
        mean = self.total / self.steps if self.steps else 0.0
        self.total, self.steps = 0.0, 0
        return {"intrinsic/reward_mean": mean}

    def state_dict(self):
        return {"total": self.total, "steps": self.steps}

    def load_state_dict(self, state):
        self.total, self.steps = state["total"], state["steps"]
'''
WORDS = ("intrinsic=none", "intrinsic._target_=counts.CountsSpec", "+intrinsic.scale=0.1", "meta=uniform_small")


@pytest.mark.slow
def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "counts.py").write_text(FILE)
    found = trains_and_all(tmp_path, "counts", *WORDS)
    means = [float(row["intrinsic/reward_mean"]) for row in found]
    assert means[0] > means[-1] > 0  # what is known is new no more
