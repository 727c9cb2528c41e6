"""A memory of one's own, whose state has a float, an integer and a complex part."""

import pytest

from modules.spec import UsageError
from pipelines.api import compose, train
from tests.extending.recipe import trains_and_all

FILE = '''
import torch
from torch import nn

from modules.keys import Entry
from modules.networks.recurrent import MemorySpec
from modules.spec import spec


@spec
class PulseSpec(MemorySpec):
    """Running sums that decay, one that turns, and a counter.

    Attributes:
        units: of each.
        decay: share that is kept per step.
    """

    units: int
    decay: float

    def state(self):
        return {
            "sums": Entry((self.units,)),
            "count": Entry((), torch.int64),
            "phase": Entry((2, self.units), torch.complex64),
        }

    def out_features(self, in_features):
        return 3 * self.units + 1

    def build(self, context):
        return Pulse(context.in_features, self.units, self.decay)


class Pulse(nn.Module):
    def __init__(self, in_features, units, decay):
        super().__init__()
        self.enter, self.decay = nn.Linear(in_features, units), decay
        self.register_buffer("turn", torch.tensor([0.9j, 0.5 + 0.5j]), persistent=False)

    def forward(self, embed, state):
        sums, count, phase = state
        out = []
        for x in self.enter(embed).unbind(1):
            sums, count = self.decay * sums + x, count + 1
            phase = self.turn.unsqueeze(-1) * phase + x.unsqueeze(1)
            age = (count % 7).to(x.dtype).unsqueeze(-1)
            out.append(torch.cat((sums, phase.real.flatten(1), age), -1))
        return torch.stack(out, 1), (sums, count, phase)
'''
WORDS = ("network/memory=none", "network.memory._target_=pulse.PulseSpec", "network.memory.name=pulse")
WORDS += ("+network.memory.units=4", "+network.memory.decay=0.9", "replay.burn_in=5")


def test_it_trains_is_killed_resumes_bit_for_bit_evaluates_and_exports(tmp_path):
    (tmp_path / "pulse.py").write_text(FILE)
    trains_and_all(tmp_path, "pulse", *WORDS)


def test_a_state_with_a_name_of_ours_is_refused(tmp_path, monkeypatch):
    (tmp_path / "pulse.py").write_text(FILE.replace('"sums"', '"weight"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="network/memory calls a tensor of its state weight, a name of Recall's own"):
        train(compose("+exp=drqn_cartpole_masked", *WORDS, "plugins=[pulse]"), run_dir="run", bar=False)
