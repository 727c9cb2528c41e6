import copy

import pytest
import torch

from modules import keys
from modules.keys import Spaces
from modules.networks.recurrent import GRU_STATE
from tests.modules.builders import MEMORIES, loss_context, network_spec, q_settings, random_rows, sharpen
from tests.modules.losses.family import h, h_inverse, huber, n_step_target, one_at_a_time, rounding

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)
LENGTH = 6
STEPS = (6, 6, 3, 1, 5)  # real steps of each row; rows 0, 2 and 4 end in a terminal step


def make(memory, *, previous=False, burn_in=0, **settings):
    """Build a loss, and copies of its online and its (different) target network that it does not know."""
    online, target = (network_spec(memory, previous=previous).build(SPACES) for _ in range(2))
    for network in (online, target):
        sharpen(network)
    own, other = copy.deepcopy(online), copy.deepcopy(target)
    loss = (spec := q_settings(**settings)).build(loss_context(online, burn_in, gamma=spec.gamma))
    with torch.no_grad():
        for p, q in zip(loss.target_value_network_params.values(True, True), target.parameters(), strict=True):
            p.copy_(q)
    return loss, own, other


def naive_target(row, t, steps, q_online, q_target, s):
    """Target of step t in the network's space; without double Q the target network chooses."""
    raw = [[h_inverse(v, s.rescale_eps) for v in values.tolist()] for values in q_target]
    reward, terminated = row[keys.REWARD].tolist(), row[keys.TERMINATED].tolist()
    y = n_step_target(t, steps, reward, s.gamma, terminated, None, None, raw, q_online if s.double else q_target, s)
    return h(y, s.rescale_eps)


def naive_loss(online, target, rows, s, burn_in=0):
    errors = []
    for whole in rows.unbind(0):
        steps = int(whole[keys.MASK][burn_in:].sum())
        q_online = one_at_a_time(online, whole, steps, burn_in)
        with torch.no_grad():
            q_target = one_at_a_time(target, whole, steps, burn_in)
        row = {key: whole[key][burn_in:] for key in (keys.ACTION, keys.REWARD, keys.TERMINATED)}
        for t in range(steps):
            delta = q_online[t][row[keys.ACTION][t]] - naive_target(row, t, steps, q_online, q_target, s)
            errors.append(whole.get(keys.WEIGHT, 1.0) * huber(delta, s.huber_delta))
    return torch.stack(errors).mean()


def gradients(network):
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("rescale_eps", [0.0, 1e-3])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("memory", MEMORIES)
def test_loss_and_gradients_equal_a_stepwise_loop(memory, n_step, double, rescale_eps):
    huber_delta = 0.0 if n_step == 3 else 0.5
    loss, online, target = make(memory, n_step=n_step, double=double, rescale_eps=rescale_eps, huber_delta=huber_delta)
    assert_equal_to_a_stepwise_loop(loss, online, target, random_rows(STEPS, LENGTH, SPACES, memory))


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("previous", [True, False])
@pytest.mark.parametrize("burn_in", [0, 3])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("memory", MEMORIES)
def test_r2d2_equals_a_stepwise_loop(memory, n_step, burn_in, previous, stored):
    """Burn-in without gradient, in both networks; padding in its place at an episode's start; importance weights."""
    loss, online, target = make(memory, burn_in=burn_in, previous=previous, n_step=n_step, rescale_eps=1e-3)
    rows = random_rows(STEPS, LENGTH, SPACES, memory, burn_in)
    rows[keys.WEIGHT] = torch.tensor([1.0, 0.3, 0.7, 0.2, 0.9])
    for key in loss.states if not stored else ():
        rows[key].zero_()
    assert_equal_to_a_stepwise_loop(loss, online, target, rows, burn_in)


def test_burn_in_matters_here():
    loss, _, _ = make("gru", burn_in=3)
    rows = random_rows(STEPS, LENGTH, SPACES, "gru", 3)
    other = rows.clone()
    other[keys.OBSERVATION][:, :3] += 1
    a, b = (loss.unroll(x, "online")[keys.ACTION_VALUE].detach() for x in (rows, other))
    has = rows[keys.MASK][:, 0]
    assert torch.equal(a[~has], b[~has])  # there it is padding
    assert ((a - b)[has].abs().amax((1, 2)) > 1e-3).all()


def test_errors_are_those_of_the_learned_steps():
    loss, _, _ = make("lstm", burn_in=3)
    rows = random_rows(STEPS, LENGTH, SPACES, "lstm", 3)
    out = loss(rows)
    assert out["errors"].shape == (len(STEPS), LENGTH)
    mean = out["errors"][rows[keys.MASK][:, 3:]].mean()
    torch.testing.assert_close(mean, out["td_error"])
    assert not out["errors"].requires_grad


def assert_equal_to_a_stepwise_loop(loss, online, target, rows, burn_in=0):
    expected = naive_loss(online, target, rows, loss.settings, burn_in)
    expected.backward()
    actual = loss(rows)["loss"]
    actual.backward()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    found = {name: p.grad for name, p in loss.value_network_params.flatten_keys(".").items()}
    assert found.keys() == gradients(online).keys()
    near = rounding(found, 1e-5)
    torch.testing.assert_close(found, gradients(online), rtol=near, atol=near)
    assert all(p.grad is None for p in loss.target_value_network_params.values(True, True))


def test_double_q_matters_here():
    """The comparison above would not notice a swap of the networks if both chose alike."""
    _, online, target = make("lstm")
    rows = random_rows(STEPS, LENGTH, SPACES, "lstm")
    choices = [[q.argmax() for q in one_at_a_time(net, rows[0], LENGTH)] for net in (online, target)]
    assert choices[0] != choices[1]


def test_measures_count_real_steps_only():
    loss, online, target = make("lstm", n_step=3)
    rows = random_rows(STEPS, LENGTH, SPACES, "lstm")
    out = loss(rows)
    q_taken, targets = [], []
    for row in rows.unbind(0):
        steps = int(row[keys.MASK].sum())
        with torch.no_grad():
            q_online, q_target = one_at_a_time(online, row, steps), one_at_a_time(target, row, steps)
        q_taken += [q_online[t][row[keys.ACTION][t]].item() for t in range(steps)]
        targets += [naive_target(row, t, steps, q_online, q_target, loss.settings) for t in range(steps)]
    mean = [sum(x) / len(x) for x in (q_taken, targets, [abs(a - b) for a, b in zip(q_taken, targets, strict=True)])]
    measured = [out[name].item() for name in ("q_mean", "target_mean", "td_error")]
    assert measured == pytest.approx(mean, rel=1e-5)
    assert not any(out[name].requires_grad for name in ("q_mean", "target_mean", "td_error"))


def outcome(loss, rows):
    """Loss and all gradients as one vector."""
    loss.zero_grad()
    value = loss(rows)["loss"]
    value.backward()
    grads = [p.grad.flatten() for p in loss.value_network_params.values(True, True)]
    return torch.cat([value.detach().reshape(1), *grads])


@pytest.mark.parametrize("memory", MEMORIES)
def test_padding_changes_nothing(memory):
    loss, _, _ = make(memory, n_step=3)
    rows = random_rows(STEPS, LENGTH, SPACES, memory)
    before = outcome(loss, rows)
    changed = rows.clone()
    for b, steps in enumerate(STEPS):
        changed[keys.OBSERVATION][b, steps + 1 :] += 100.0
        changed[keys.ACTION][b, steps:] = (changed[keys.ACTION][b, steps:] + 1) % SPACES.n_actions
        changed[keys.REWARD][b, steps:] += 1e6
        changed[keys.TERMINATED][b, steps:] ^= True
    assert not (changed == rows).all()
    torch.testing.assert_close(outcome(loss, changed), before, rtol=0, atol=0)


def test_real_steps_change_something():
    """The test above would pass on a loss that reads nothing."""
    loss, _, _ = make("lstm", n_step=3)
    rows = random_rows(STEPS, LENGTH, SPACES, "lstm")
    before = outcome(loss, rows)
    for key, change in ((keys.OBSERVATION, 0.1), (keys.REWARD, 1.0), (keys.ACTION, 1)):
        changed = rows.clone()
        last = STEPS[1] - 1
        changed[key][1, last] = (changed[key][1, last] + change) % SPACES.n_actions
        assert not torch.equal(outcome(loss, changed), before)


@pytest.mark.parametrize("steps", [3, LENGTH])
@pytest.mark.parametrize("n_step", [1, 5])
def test_terminated_is_not_truncated(steps, n_step):
    loss, online, target = make("lstm", n_step=n_step, huber_delta=0.0)
    rows = random_rows([steps], LENGTH, SPACES, "lstm")
    rows[keys.TERMINATED][:] = False

    def mean_target(rows):
        return loss(rows)["target_mean"].item()

    # Truncated: the value of the real final observation counts, γ^k times for the step that is k away from it.
    with torch.no_grad():
        choice = one_at_a_time(online, rows[0], steps)[steps].argmax()
        value = one_at_a_time(target, rows[0], steps)[steps][choice].item()
    truncated = mean_target(rows)
    rows[keys.TERMINATED][0, steps - 1 :] = True
    share = sum(0.9**k for k in range(1, min(n_step, steps) + 1)) / steps
    assert truncated - mean_target(rows) == pytest.approx(share * value, abs=1e-5)
    # Terminated: nothing that comes after the last step counts.
    ended = mean_target(rows)
    rows[keys.OBSERVATION][0, steps:] += 5.0
    assert mean_target(rows) == ended
    rows[keys.TERMINATED][:] = False
    assert mean_target(rows) != pytest.approx(truncated, abs=1e-4)


def test_rows_do_not_touch():
    loss, _, _ = make("lstm")
    rows = random_rows(STEPS, LENGTH, SPACES, "lstm")
    for which in ("online", "target"):
        with torch.no_grad():
            together = loss.unroll(rows, which)[keys.ACTION_VALUE]
            alone = torch.cat([loss.unroll(rows[b : b + 1], which)[keys.ACTION_VALUE] for b in range(len(STEPS))])
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_the_stored_state_counts():
    loss, _, _ = make("gru")
    rows = random_rows(STEPS, LENGTH, SPACES, "gru")
    forgotten = rows.clone()
    forgotten[GRU_STATE[0]].zero_()
    assert loss(rows)["loss"] != loss(forgotten)["loss"]


def test_the_loss_learns_the_network_that_it_is_given():
    """Weights are pushed to the acting copy from this network, so the optimiser must step its parameters."""
    network = network_spec("lstm").build(SPACES)
    loss = q_settings().build(loss_context(network))
    loss(random_rows(STEPS, LENGTH, SPACES, "lstm"))["loss"].backward()
    shared = {id(p) for p in network.parameters()}
    assert {id(p) for p in loss.parameters() if p.requires_grad} == shared
