"""Which steps are learned from, how the auxiliary optimiser descends, running moments."""

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from modules import keys
from modules.intrinsic import IntrinsicContext
from modules.intrinsic.embedding import InverseDynamicsSpec
from modules.intrinsic.parts import encoder, last_steps
from modules.intrinsic.rnd import DistillationSpec
from modules.moments import RunningMoments
from modules.networks.table import TableSpec
from modules.spec import UsageError
from tests.modules.intrinsic.rows import CONV, CPU, IMAGES, MLP, VECTORS, descent, make_rows, walks


def test_last_real_steps_are_taken_not_padding():
    observation = torch.arange(8.0).expand(4, 8).unsqueeze(-1)
    action = torch.arange(7, dtype=torch.uint8).expand(4, 7)
    mask = torch.tensor(
        [
            [1, 1, 1, 1, 1, 1, 1],
            [0, 0, 1, 1, 1, 1, 0],  # padded burn-in, padded tail
            [0, 0, 1, 1, 0, 0, 0],  # fewer than asked for
            [1, 0, 0, 0, 0, 0, 0],
        ]
    ).bool()
    steps = last_steps(make_rows(observation, action, mask), 3)
    taken = [row[real].tolist() for row, real in zip(steps.action, steps.mask, strict=True)]
    assert taken == [[4, 5, 6], [3, 4, 5], [2, 3], [0]]
    before = [row[:-1][real].flatten().tolist() for row, real in zip(steps.observation, steps.mask, strict=True)]
    after = [row[1:][real].flatten().tolist() for row, real in zip(steps.observation, steps.mask, strict=True)]
    assert before == taken
    assert after == [[a + 1 for a in row] for row in taken]
    seen = [row[real].flatten().tolist() for row, real in zip(steps.observation, steps.seen, strict=True)]
    assert seen == [[4, 5, 6, 7], [3, 4, 5, 6], [2, 3, 4], [0, 1]]
    assert steps.action.dtype == torch.int64


def test_more_steps_than_a_row_has():
    steps = last_steps(make_rows(torch.zeros(2, 4, 1), torch.arange(3).expand(2, 3)), 5)
    assert steps.action.tolist() == [[0, 1, 2]] * 2


def test_weight_decay_is_an_l2_penalty():
    """Equal to adding weight_decay/2 · ‖θ‖² to the loss; the decay of AdamW is another step."""
    thetas = []
    for decay, penalty in ((0.1, 0.0), (0.0, 0.1)):
        theta = nn.Parameter(torch.tensor([3.0, -1.0]))
        optimiser = descent(weight_decay=decay).build([theta])
        for _ in range(5):
            optimiser.step((theta - 1).square().sum() + penalty / 2 * theta.square().sum(), "test")
        thetas.append(theta.detach())
    assert torch.allclose(*thetas, atol=1e-6)


def test_a_loss_that_is_not_finite_changes_nothing():
    theta = nn.Parameter(torch.ones(2))
    with pytest.raises(ArithmeticError, match="the test is not finite: loss = nan"):
        descent().build([theta]).step((theta * torch.nan).sum(), "the test")
    assert theta.tolist() == [1, 1]


def test_networks_read_images_and_refuse_what_has_no_features():
    images = torch.zeros(2, 5, *IMAGES.observation_shape, dtype=torch.uint8)
    assert encoder(CONV, IMAGES, 7)(images).shape == (2, 5, 7)
    with pytest.raises(UsageError, match="features"):
        encoder(TableSpec(rows=3), VECTORS, 7)


def test_moments_of_batches_are_those_of_everything():
    values = 1e6 + torch.randn(101, 3, dtype=torch.float64) * torch.tensor([1.0, 1e-2, 0.0])
    moments = RunningMoments((3,))
    for batch in values.split([1, 30, 0, 69, 1]):
        moments.update(batch.numpy())
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.std[:2], values.std(0, correction=0)[:2], rtol=1e-6)
    assert moments.std[2] < 1e-8
    again = RunningMoments((3,))
    again.load_state_dict(moments.state_dict())
    more = torch.randn(5, 3, dtype=torch.float64).numpy()
    for one in (moments, again):
        one.update(more)
    assert moments.count == again.count == 106
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in moments.state_dict().items())


def test_moments_of_other_values_are_refused():
    with pytest.raises(UsageError, match=r"shape \[\], but the settings say \[3\]"):
        RunningMoments((3,)).load_state_dict(RunningMoments().state_dict())


def test_moments_with_a_horizon_forget():
    """Equal to the plain moments up to the horizon; later ones fade by the known weights."""
    values = torch.randn(60, dtype=torch.float64)
    moments = RunningMoments(horizon=20)
    for batch in values[:20].split(5):
        moments.update(batch.numpy())
    np.testing.assert_allclose(moments.mean, values[:20].mean())
    weight = torch.full((20,), 1.0, dtype=torch.float64)
    for batch in values[20:].split(5):
        moments.update(batch.numpy())
        weight = torch.cat((weight * 20 / weight.sum().clamp(min=20), torch.ones(5, dtype=torch.float64)))
    mean = (weight * values).sum() / weight.sum()
    np.testing.assert_allclose(moments.mean, mean)
    np.testing.assert_allclose(moments.std**2, (weight * (values - mean).square()).sum() / weight.sum())
    assert weight[0] < 0.25


@pytest.mark.parametrize("learned", ["embedding", "distillation"])
@pytest.mark.parametrize("anything", [torch.nan, torch.inf, 3e38])
def test_whatever_stands_in_the_padding_teaches_nothing(learned, anything):
    """NaN too, whose gradient is NaN wherever it is masked; one row is padding from end to end."""
    torso = {"torso": MLP, "features": 8, "last_frames": 5, "descent": descent()}
    if learned == "embedding":
        part = InverseDynamicsSpec(**torso, hidden=16).build(IntrinsicContext(spaces=VECTORS, device=CPU))
    else:
        part = DistillationSpec(**torso, max_alpha=5.0, error_horizon=0).build(
            IntrinsicContext(spaces=VECTORS, device=CPU)
        )
    rows = walks(4, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()
    bad = rows[keys.OBSERVATION].clone()
    bad[1, [0, 1, 5, 6]] = bad[2, 2:] = bad[3] = anything
    twin = copy.deepcopy(part)
    ours, theirs = (
        part.step(make_rows(rows[keys.OBSERVATION], rows[keys.ACTION], mask)),
        twin.step(make_rows(bad, rows[keys.ACTION], mask)),
    )
    assert ours == theirs
    assert all(torch.equal(a, b) for a, b in zip(weights(part), weights(twin), strict=True))


def weights(part):
    """What the part has learned."""
    return [p for net in part.parts().values() if isinstance(net, nn.Module) for p in net.parameters()]


@pytest.mark.parametrize(
    "bad", [{"lr": 0}, {"eps": 0}, {"betas": (1.0, 0.9)}, {"weight_decay": -1e-9}, {"max_grad_norm": 0}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        descent(**bad)
