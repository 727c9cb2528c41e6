"""Presets of papers take the steps of the papers: theirs sum the loss over a row's steps, ours takes the mean."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from modules.optim import adam_share
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read


@pytest.mark.parametrize(
    ("preset", "eps"),
    [("r2d2_atari", 1e-3), ("ngu_atari", 1e-4), ("agent57_atari", 1e-4)],
    ids=["R2D2, table 2", "NGU, table 6", "Agent57, table G.3"],
)
@pytest.mark.parametrize("size", [1e-2, 10.0], ids=["below the clip", "above it"])
def test_a_step_is_not_smaller_than_that_of_the_sum(preset, eps, size):
    run = read(compose_settings([f"+exp={preset}"])[0])
    steps, paper = run.replay.length, replace(run.optim, eps=eps, max_grad_norm=40.0)
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 1), nn.Linear(4, 1)
    theirs.load_state_dict(ours.state_dict())
    begun = copy.deepcopy(ours.state_dict())
    optimisers = [
        (ours, run.optim, run.optim.build(ours.parameters())),
        (theirs, paper, paper.build(theirs.parameters())),
    ]
    for _ in range(50):
        rows, aim = size * torch.randn(8, steps, 4), torch.randn(8, steps)
        for net, settings, optimiser in optimisers:
            loss = 0.5 * (net(rows).squeeze(-1) - aim).square().mean(0)  # [steps], a mean over the batch
            optimiser.zero_grad()
            (loss.mean() if net is ours else loss.sum()).backward()
            nn.utils.clip_grad_norm_(net.parameters(), settings.max_grad_norm)
            optimiser.step()
    shares = [adam_share(optimiser) for *_, optimiser in optimisers]
    assert shares[0] >= 0.999 * shares[1]
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, theirs.state_dict()[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(weight, begun[name])
