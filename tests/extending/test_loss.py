"""A head of one's own with its loss and a metric."""

from tests.extending.recipe import trains_and_all

FILE = '''
from typing import Literal

import torch
from torch import nn

from modules import keys
from modules.losses.ops import masked_mean
from modules.losses.q import BEFORE, QLoss, QLossSpec
from modules.metrics import Metric
from modules.networks.heads import HeadSpec
from modules.spec import spec


@spec
class EnsembleSpec(HeadSpec):
    """Two heads; actions are chosen by their mean.

    Attributes:
        spread: factor on the second head's first weights.
    """

    writes = ("action_value", "members")

    spread: float

    def build(self, context):
        return Ensemble(context.in_features, context.spaces.n_actions, self.spread)


class Ensemble(nn.Module):
    def __init__(self, in_features, n_actions, spread):
        super().__init__()
        self.members = nn.ModuleList(nn.Linear(in_features, n_actions) for _ in range(2))
        with torch.no_grad():
            self.members[1].weight.mul_(spread)

    def forward(self, features):
        members = torch.stack([member(features) for member in self.members], -1)
        return {"action_value": members.mean(-1), "members": members}


@spec
class AgreeingSpec(QLossSpec):
    """Q-learning with a penalty where the heads disagree.

    Attributes:
        penalty: its weight.
    """

    metrics = (*QLossSpec.metrics, Metric("loss/disagreement", "value", "mean variance of the two heads"))

    penalty: float

    def needs(self, run):
        yield from super().needs(run)
        if "members" not in run.network.head.writes:
            yield "loss=agreeing needs the head ensemble"

    def build(self, context):
        return Agreeing(self, context)


class Agreeing(QLoss):
    def forward(self, rows):
        out = super().forward(rows)
        (mask,) = self.learned_steps(rows, keys.MASK)
        members = self.unroll(rows, "online", BEFORE)["members"]
        disagreement = masked_mean(members.var(-1).mean(-1), mask)  # padding counts for nothing
        out["loss"] = out["loss"] + self.settings.penalty * disagreement
        return out.set("disagreement", disagreement.detach())
'''
HEAD = ("network/head=table", "network.head._target_=own_head.EnsembleSpec", "+network.head.spread=0.5")
LOSS = ("loss._target_=own_head.AgreeingSpec", "+loss.penalty=0.1")


def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "own_head.py").write_text(FILE)
    found = trains_and_all(tmp_path, "own_head", *HEAD, *LOSS)
    assert float(found[-1]["loss/disagreement"]) > 0
