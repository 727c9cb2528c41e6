"""Two streams, arms and Retrace on rows, against a loop that steps each network by hand."""

import copy
from dataclasses import replace

import pytest
import torch

from modules import keys
from modules.learner.learner import Learner
from modules.losses.q_lambda import QLambdaSpec
from modules.losses.retrace import RetraceSpec
from tests.modules.builders import MEMORIES, adam, followed, network_spec, q_settings, sharpen
from tests.modules.losses.family import (
    BETAS,
    LENGTH,
    SPACES,
    STEPS,
    best,
    context_of,
    family_rows,
    mixed,
    n_step_target,
    naive_loss,
    q_lambda_target,
    retrace_target,
    rounding,
    streams_of,
)


def retrace(*, lam=0.9, target_epsilon=0.1, huber_delta=0.0, rescale_eps=1e-3):
    return RetraceSpec(
        gamma=0.5, lam=lam, target_epsilon=target_epsilon, huber_delta=huber_delta, rescale_eps=rescale_eps
    )


def make(memory, streams, settings, burn_in=0, combine="sum"):
    """Build a loss, and copies of its online and its (different) target network that it does not know."""
    spec = network_spec(memory, family=True, streams=streams, combine=combine)
    online, target = (spec.build(replace(SPACES, rescale_eps=settings.rescale_eps)) for _ in range(2))
    for network in (online, target):
        sharpen(network)
        if combine == "rescaled":
            disagree(network)
    own, other = copy.deepcopy(online), copy.deepcopy(target if settings.has_target else online)
    loss = settings.build(context_of(online, burn_in))
    if not settings.has_target:
        assert not [name for name, _ in loss.named_parameters() if "target" in name]
        return loss, own, other
    held = dict(loss.target_value_network_params.flatten_keys(".").items())
    with torch.no_grad():
        for name, parameter in target.named_parameters():
            held[name].copy_(parameter)
    return loss, own, other


def disagree(network):
    """Of β = 2: by the sum action 0 is about 12 and action 1 10.5; by h(h⁻¹(Q_e) + 2 h⁻¹(Q_i)) 9.7 and 10.5."""
    biases = torch.tensor([0.0, 10.5, 0.0]), torch.tensor([6.0, 0.0, 0.0])
    with torch.no_grad():
        for stream, bias in zip(network.independent, biases, strict=True):
            [*stream.parameters()][-1].copy_(bias)


def assert_equal_to_the_loop(loss, online, target, rows, stream_target, burn_in=0, combine="sum"):
    expected = naive_loss(online, target, rows, loss.settings, stream_target, burn_in, combine)
    expected.backward()
    actual = loss(rows)["loss"]
    actual.backward()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    found = {name: p.grad for name, p in loss.value_network_params.flatten_keys(".").items() if p.requires_grad}
    wanted = {name: p.grad for name, p in online.named_parameters()}
    assert found.keys() == wanted.keys()
    near = rounding(found, 2e-5)
    torch.testing.assert_close(found, wanted, rtol=near, atol=near)


@pytest.mark.parametrize("burn_in", [0, 3])
@pytest.mark.parametrize("rescale_eps", [0.0, 1e-3])
@pytest.mark.parametrize("streams", ["one", "two"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_retrace_equals_a_stepwise_loop(memory, streams, rescale_eps, burn_in):
    """Each stream its own reward, the row's own discount, one policy for both, that of the combined online values."""
    loss, online, target = make(memory, streams, retrace(rescale_eps=rescale_eps), burn_in)
    assert_equal_to_the_loop(loss, online, target, family_rows(memory, burn_in=burn_in), retrace_target, burn_in)


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("streams", ["one", "two"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_q_lambda_equals_a_stepwise_loop(memory, streams, lam):
    """It bootstraps from the very network that learns, without gradient."""
    settings = QLambdaSpec(gamma=0.5, lam=lam, huber_delta=0.0, rescale_eps=1e-3)
    loss, online, target = make(memory, streams, settings, 3)
    assert_equal_to_the_loop(loss, online, target, family_rows(memory, burn_in=3), q_lambda_target, 3)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("streams", ["one", "two"])
def test_n_step_q_of_a_family_equals_a_stepwise_loop(streams, n_step):
    settings = q_settings(gamma=0.5, n_step=n_step, huber_delta=0.5, rescale_eps=1e-3)
    loss, online, target = make("lstm", streams, settings, 3)
    assert_equal_to_the_loop(loss, online, target, family_rows("lstm", burn_in=3), n_step_target, 3)


BY_THE_COMBINED = [
    (retrace(rescale_eps=0.05, target_epsilon=0.0), retrace_target),
    *((q_settings(gamma=0.5, n_step=3, double=double, rescale_eps=0.05), n_step_target) for double in (True, False)),
]


@pytest.mark.parametrize(("settings", "target_of"), BY_THE_COMBINED, ids=["retrace", "double", "single"])
def test_targets_under_the_rescaled_combination_equal_a_stepwise_loop(settings, target_of):
    """And the sum would choose otherwise."""
    loss, online, target = make("gru", "two", settings, 3, "rescaled")
    rows = family_rows("gru", burn_in=3)
    assert_equal_to_the_loop(loss, online, target, rows, target_of, 3, "rescaled")
    by_sums = naive_loss(online, target, rows, settings, target_of, 3, "sum").item()
    assert abs(loss(rows)["loss"].item() - by_sums) > 1e-3


def test_the_shared_policy_matters_here():
    """The comparison above would not notice a policy per stream if all chose alike."""
    torch.manual_seed(0)
    _, online, _ = make("lstm", "two", retrace())
    own, shared = [], []
    for row, steps in zip(family_rows("lstm"), STEPS, strict=True):
        beta = BETAS[int(row[keys.ARM][0])]
        for extrinsic, intrinsic in zip(*streams_of(online, row, steps, 0), strict=True):
            own.append((best(extrinsic), best(intrinsic)))
            shared.append(best(extrinsic + beta * intrinsic))
    assert any(e != both for (e, _), both in zip(own, shared, strict=True))
    assert any(i != both for (_, i), both in zip(own, shared, strict=True))


def test_padding_changes_nothing():
    for settings in (retrace(), q_settings(n_step=3)):
        loss, _, _ = make("lstm", "two", settings, 3)
        rows = family_rows("lstm", burn_in=3)
        other = rows.clone()
        padded = ~rows[keys.MASK]
        for key, value in ((keys.INTRINSIC, 1e3), (keys.REWARD, -1e3), (keys.BEHAVIOUR, 1e-3)):
            other[key][padded] = value
        found = []
        for each in (rows, other):
            loss.zero_grad()
            out = loss(each)
            out["loss"].backward()
            gradients = [p.grad.clone() for p in loss.parameters() if p.requires_grad]
            found.append([out["loss"].detach(), out["td_error"], out["q_mean"], *gradients])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("combine", ["sum", "rescaled"])
def test_measures_and_priorities_are_those_of_the_combined_values(combine):
    loss, online, _ = make("gru", "two", retrace(rescale_eps=0.05), combine=combine)
    rows = family_rows("gru")
    out = loss(rows)
    with torch.no_grad():
        inputs = loss.target_inputs(rows, loss.online_and_target(rows)[2])
        targets = loss.targets(rows, inputs, loss.unroll(rows, "target"))
    taken, errors = [], []
    for b, row in enumerate(rows.unbind(0)):
        steps, beta = int(row[keys.MASK].sum()), BETAS[int(row[keys.ARM][0])]
        extrinsic, intrinsic = streams_of(online, row, steps, 0)
        action = row[keys.ACTION].tolist()
        for t in range(steps):
            taken.append(mixed(extrinsic[t], intrinsic[t], beta, combine, 0.05)[action[t]].item())
            aim = mixed(*(targets[key][b, t : t + 1] for key in online.streams), beta, combine, 0.05).item()
            errors.append(abs(taken[-1] - aim))
    assert out["q_mean"].item() == pytest.approx(sum(taken) / len(taken), rel=1e-5)
    assert out["errors"].shape == (len(STEPS), LENGTH)
    assert out["errors"][rows[keys.MASK]].tolist() == pytest.approx(errors, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(out["errors"][rows[keys.MASK]].mean(), out["td_error"])


def learner(streams):
    """Make one whose arms all have β = 0, so that the policy is that of the extrinsic stream alone."""
    torch.manual_seed(0)
    network = network_spec("lstm", family=True, streams=streams).build(SPACES)
    if streams == "two":
        network.combination.betas.zero_()
    loss = retrace(rescale_eps=0.0).build(context_of(network, betas=(0.0, 0.0, 0.0)))
    return Learner(network, loss, adam(max_grad_norm=0.1), followed()), network


def test_each_stream_learns_as_if_it_had_an_optimiser_of_its_own():
    """A huge intrinsic gradient neither shrinks the extrinsic one nor changes what it leads to."""
    networks, gradients = [], []
    for scale in (1.0, 1e6):
        mine, network = learner("two")
        for seed in range(3):
            torch.manual_seed(seed)
            measures, _ = mine.step(family_rows("lstm", intrinsic_scale=scale))
        networks.append(network)
        gradients.append([torch.stack([p.grad.norm() for p in s.parameters()]).norm() for s in network.independent])
        assert measures["loss/grad_norm"] > 0.2  # so both are clipped
    for a, b in zip(*(network.independent[0].parameters() for network in networks), strict=True):
        assert torch.equal(a, b)
    assert not all(torch.equal(a, b) for a, b in zip(*(n.independent[1].parameters() for n in networks), strict=True))
    torch.testing.assert_close(torch.tensor(gradients), torch.full((2, 2), 0.1), rtol=1e-3, atol=0)


def test_one_network_is_clipped_as_a_whole():
    mine, network = learner("one")
    mine.step(family_rows("lstm"))
    assert torch.stack([p.grad.norm() for p in network.parameters()]).norm().item() == pytest.approx(0.1, rel=1e-3)
