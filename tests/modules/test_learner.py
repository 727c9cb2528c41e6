import copy
import math

import pytest
import torch

from modules import checkpoint, keys
from modules.keys import Spaces
from modules.learner.learner import Learner, NonFiniteError
from modules.optim import adam_share
from tests.modules.builders import adam, followed, loss_context, network_spec, q_settings, random_rows

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)


def make(target=followed(), **settings):  # noqa: B008 - it is frozen
    network = network_spec("lstm").build(SPACES)
    return Learner(network, q_settings().build(loss_context(network)), adam(**settings), target), network


def batch():
    return random_rows([5, 3, 4], 5, SPACES, "lstm")


def flat(tree):
    """Every tensor in a nested state, by path."""
    if isinstance(tree, torch.Tensor):
        return {"": tree.detach().clone()}
    pairs = tree.items() if hasattr(tree, "items") else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {f"{key}/{path}": value for key, child in pairs for path, value in flat(child).items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert len(a) >= 20
    assert all(torch.equal(a[key], b[key]) for key in a)


def online_and_target(learner):
    loss = learner.loss
    return ([p.detach().clone() for p in params.values(True, True)]
            for params in (loss.value_network_params, loss.target_value_network_params))  # fmt: skip


def test_target_starts_equal_and_follows_by_the_formula():
    learner, network = make(followed(tau=0.1))
    first, target = online_and_target(learner)
    assert all(torch.equal(p, q) for p, q in zip(first, target, strict=True))
    for _ in range(3):
        before = target
        learner.step(batch())
        online, target = online_and_target(learner)
        for p, old, new in zip(online, before, target, strict=True):
            torch.testing.assert_close(new, 0.1 * p + 0.9 * old, rtol=1e-6, atol=1e-7)
    assert not any(torch.equal(p, q) for p, q in zip(online, first, strict=True))
    assert [id(p) for p in learner._parameters] == [id(p) for p in network.parameters()]
    assert learner.updates == 3


@pytest.mark.parametrize("decay", [0.8, 0.0])
def test_average_follows_by_the_formula(decay):
    """It starts at the weights after the first update; 0 means the newest weights."""
    learner, network = make(ema_decay=decay)
    for update in range(4):
        before = [p.detach().clone() for p in learner.average.parameters()]
        learner.step(batch())
        share = 1.0 if update == 0 else 1 - decay
        for average, old, p in zip(learner.average.parameters(), before, network.parameters(), strict=True):
            torch.testing.assert_close(average, share * p + (1 - share) * old, rtol=1e-6, atol=1e-7)
    shared = {p.data_ptr() for p in network.parameters()} & {p.data_ptr() for p in learner.average.parameters()}
    assert not shared


def test_step_is_adam_on_the_clipped_gradient():
    learner, network = make(lr=0.01, max_grad_norm=0.05)
    rows = batch()
    loss = learner.loss(rows)["loss"]
    grads = torch.autograd.grad(loss, list(network.parameters()))
    norm = torch.cat([g.flatten() for g in grads]).norm()
    assert norm > 0.05
    before = [p.detach().clone() for p in network.parameters()]
    measures, _ = learner.step(rows)
    torch.testing.assert_close(measures["loss/grad_norm"], norm)
    torch.testing.assert_close(measures["loss/q"], loss.detach())
    for p, old, g in zip(network.parameters(), before, grads, strict=True):
        # Adam's first step: m̂ = g and v̂ = g².
        clipped = g * 0.05 / norm
        torch.testing.assert_close(p, old - 0.01 * clipped / (clipped.abs() + 1e-8), rtol=1e-4, atol=1e-6)


def test_learning_lowers_the_loss():
    learner, _ = make(followed(tau=1e-3))
    rows = batch()
    losses = [learner.step(rows)[0]["loss/q"].item() for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", [keys.REWARD, keys.OBSERVATION])
def test_non_finite_changes_nothing(bad, key):
    learner, _ = make()
    for _ in range(2):
        learner.step(batch())
    before = flat(learner.state_dict())
    rows = batch()
    rows[key][1, 2] = bad
    with pytest.raises(NonFiniteError, match=r"update 3 is not finite: .*loss/q = "):
        learner.step(rows)
    assert_same(flat(learner.state_dict()), before)
    assert learner.updates == 2
    # No gradient is left behind either: the next step is as if nothing had been.
    twin, _ = make()
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    rows = batch()
    learner.step(rows)
    twin.step(rows)
    assert_same(flat(learner.state_dict()), flat(twin.state_dict()))


def test_infinite_gradient_of_a_finite_loss_changes_nothing():
    learner, network = make()
    before = flat(learner.state_dict())
    next(network.parameters()).register_hook(lambda grad: grad * math.inf)
    with pytest.raises(NonFiniteError, match="loss/grad_norm"):
        learner.step(batch())
    assert_same(flat(learner.state_dict()), before)


def test_state_survives_the_file(tmp_path):
    """Parameters, target, moments and learning rate: a restored learner continues exactly."""
    learner, _ = make(lr_decay=0.1)
    for frames in (10, 50):
        learner.anneal(frames)
        learner.step(batch())
    path = checkpoint.save(tmp_path, 1, {"learner": learner.state_dict()}, keep=1)
    restored, _ = make(lr_decay=0.1)
    restored.load_state_dict(checkpoint.load(path)["learner"])
    for frames in (60, 70):
        rows = batch()
        for one in (learner, restored):
            one.anneal(frames)
        a, b = learner.step(rows)[0], restored.step(rows)[0]
        assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}
    assert restored.updates == 4
    assert_same(flat(learner.state_dict()), flat(restored.state_dict()))


def test_step_size_is_annealed_in_frames():
    learner, _ = make(lr=0.02, lr_decay=0.25)
    assert [learner.anneal(f) for f in (0, 50, 100, 900)] == pytest.approx([0.02, 0.0125, 0.005, 0.005])
    assert learner._optimiser.param_groups[0]["lr"] == pytest.approx(0.005)


def test_the_share_of_the_learning_rate_that_eps_leaves():
    w = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([w], lr=1.0, eps=1e-3, betas=(0.0, 0.9))
    assert math.isnan(adam_share(optimiser))
    w.grad = torch.tensor([1e-3, 3e-3, 0.0])  # the last never had a gradient: it does not count
    optimiser.step()
    assert adam_share(optimiser) == pytest.approx((0.5 + 0.75) / 2)
    assert w[:2].tolist() == pytest.approx([-0.5, -0.75])  # the steps themselves, of a learning rate of 1
