"""TorchRL's loss is another witness where memory does not matter, and a known liar where it does."""

import copy

import pytest
import torch

from modules import keys
from modules.keys import Spaces
from modules.losses.torchrl_dqn import TorchrlDqnSpec
from tests.modules.builders import loss_context, network_spec, q_settings, random_rows, sharpen

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)
STEPS = (6, 4, 1, 6, 3)


def both(memory, *, double):
    network = network_spec(memory).build(SPACES)
    sharpen(network)
    theirs = TorchrlDqnSpec(gamma=0.9, double=double, loss_function="smooth_l1").build(
        loss_context(copy.deepcopy(network))
    )
    ours = q_settings(gamma=0.9, n_step=1, double=double, huber_delta=1.0).build(loss_context(network, gamma=0.9))
    return ours, theirs


def gradients(loss, rows):
    value = loss(rows.clone())["loss"]
    value.backward()
    return value.detach(), [p.grad for p in loss.parameters() if p.requires_grad]


@pytest.mark.parametrize("double", [True, False])
def test_without_memory_both_agree(double):
    rows = random_rows(STEPS, 6, SPACES, "none")
    ours, theirs = both("none", double=double)
    torch.testing.assert_close(gradients(theirs, rows), gradients(ours, rows), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(theirs(rows)["td_error"], ours(rows)["td_error"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_with_memory_torchrl_forgets_the_stored_state(memory):
    """The reason for our own loss; when this fails, TorchRL may have been repaired."""
    rows = random_rows([6, 6, 6], 6, SPACES, memory)
    rows[keys.REWARD].zero_()  # so that the values of the next observations, which are at stake, are all there is
    rows[keys.TERMINATED].zero_()
    ours, theirs = both(memory, double=False)
    assert not torch.isclose(theirs(rows.clone())["loss"], ours(rows)["loss"], rtol=2e-3)
