"""The loss of REINFORCE against a stepwise loop, and what it must not see."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch

from modules import keys
from modules.exploration import BoltzmannSpec, EpsGreedySpec, EpsLadderSpec
from modules.keys import Spaces
from modules.learner.learner import Learner
from modules.learner.target import NoTarget
from modules.losses.reinforce import ReinforceSpec
from tests.modules.builders import MEMORIES, adam, followed, loss_context, network_spec, random_rows, sharpen

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)
STEPS = [5, 3, 4]


def settings(**changes):
    base = {"gamma": 0.9, "rule": "reward_to_go", "normalise": False, "baseline": "none", "entropy": 0.0}
    return ReinforceSpec(**{**base, **changes})


def make(memory="none", **changes):
    network = network_spec(memory).build(SPACES)
    sharpen(network)
    return settings(**changes).build(loss_context(network)), network


def batch(memory="none", length=5):
    return random_rows(STEPS, length, SPACES, memory)


def acted(network, rows, row, steps):
    """Logits of each step as the policy sees them when it acts: one observation at a time."""
    state, found = tuple(rows[key][row : row + 1] for key in network.states), []
    for t in range(steps):
        out, state = network.unroll({keys.OBSERVATION: rows[keys.OBSERVATION][row : row + 1, t : t + 1]}, state)
        found.append(out[keys.ACTION_VALUE][0, 0])
    return found


def loop(network, rows, *, gamma=0.9, entropy=0.0):
    """The definition, step by step: mean of −G_t log π(a_t) and of the entropy."""
    total, count = torch.zeros(()), 0
    for row, steps in enumerate(STEPS):
        for t, logits in enumerate(acted(network, rows, row, steps)):
            pi = logits.exp() / logits.exp().sum()
            g_t = sum(gamma ** (k - t) * rows[keys.REWARD][row, k] for k in range(t, steps))
            total = total - g_t * pi[rows[keys.ACTION][row, t]].log() + entropy * (pi * pi.log()).sum()
            count += 1
    return total / count


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_loss_and_gradient_are_those_of_a_stepwise_loop(memory, entropy):
    loss, network = make(memory, entropy=entropy)
    rows = batch(memory)
    found, expected = loss(rows)["loss"], loop(network, rows, entropy=entropy)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    ours, theirs = (torch.autograd.grad(value, list(network.parameters())) for value in (found, expected))
    assert all(g.abs().max() > 1e-4 for g in ours[-2:])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"normalise": True}, {"baseline": "step"}, {"rule": "seed"}])
def test_padding_has_no_part(changes):
    loss, network = make("lstm", entropy=0.1, **changes)
    rows = batch("lstm", length=7)

    def outcome():
        value = loss(rows)["loss"]
        return [value.detach(), *torch.autograd.grad(value, list(network.parameters()))]

    before = outcome()
    empty = ~rows[keys.MASK]
    rows[keys.REWARD][empty] = math.nan
    rows[keys.ACTION][empty] = 0
    assert all(map(torch.equal, outcome(), before))


def test_one_episode_by_hand():
    """Two steps, rewards 1 and 3: G = (1 + 0.9 · 3, 3); whatever is seen, both actions of a zeroed net have 1/3."""
    rows = random_rows([2], 2, SPACES, "none")
    rows[keys.REWARD] = torch.tensor([[1.0, 3.0]])
    mean = (3.7 + 3) / 2
    expected = {
        (): mean * math.log(3),
        (("entropy", 0.5),): mean * math.log(3) - 0.5 * math.log(3),
        (("normalise", True),): 0.0,  # of equal log-probabilities
        (("rule", "seed"),): (1 + 0.9 * 3) / 2 * 3 * math.log(3),
    }
    for changes, value in expected.items():
        loss, network = make(**dict(changes))
        with torch.no_grad():
            for p in network.parameters():
                p.zero_()
        out = loss(rows)
        assert out["loss"].item() == pytest.approx(value, abs=1e-6), changes
        assert out["entropy"].item() == pytest.approx(math.log(3))
        assert not out["entropy"].requires_grad


def test_a_batch_of_one_step_and_one_of_equal_returns_are_finite_and_teach_nothing():
    loss, network = make(normalise=True, gamma=0.0)
    one, equal = random_rows([1], 1, SPACES, "none"), batch()
    equal[keys.REWARD] = torch.full_like(equal[keys.REWARD], 0.1)
    for rows in (one, equal):
        value = loss(rows)["loss"]
        gradient = torch.autograd.grad(value, list(network.parameters()))
        assert value.isfinite()
        assert max(g.abs().max().item() for g in gradient) < 1e-5


def test_the_seeds_rule_does_not_see_the_action_and_the_right_one_does():
    for rule, sees in (("seed", False), ("reward_to_go", True)):
        loss, _ = make(rule=rule)
        rows = batch()
        before = loss(rows)["loss"].item()
        rows[keys.ACTION] = (rows[keys.ACTION] + 1) % 3
        assert (loss(rows)["loss"].item() != before) == sees


def test_the_likelier_action_becomes_the_one_that_pays():
    """A bandit of one step; under the seed's rule nothing tells the actions apart."""
    greedy = {}
    for rule in ("reward_to_go", "seed"):
        loss, network = make(rule=rule, normalise=True)
        learner = Learner(network, loss, adam(lr=0.05), followed())
        assert isinstance(learner._target, NoTarget)
        rows = random_rows([1] * 30, 1, SPACES, "none")
        rows[keys.OBSERVATION][:] = 1.0
        rows[keys.ACTION][:, 0] = torch.arange(30) % 3
        rows[keys.REWARD][:, 0] = (rows[keys.ACTION][:, 0] == 2).float()
        for _ in range(60):
            measures, errors = learner.step(rows)
        assert errors is None
        assert measures.keys() == {"loss/q", "loss/entropy", "loss/grad_norm"}
        out, _ = network.unroll({keys.OBSERVATION: torch.ones(1, 1, 3)}, ())
        greedy[rule] = out[keys.ACTION_VALUE].softmax(-1)[0, 0, 2].item()
    assert greedy["reward_to_go"] > 0.95
    assert greedy["seed"] < 0.9


def test_no_parameter_is_there_twice_and_its_learner_goes_on_from_a_state():
    loss, network = make("gru")
    assert [id(p) for p in loss.parameters()] == [id(p) for p in network.parameters()]
    learners = []
    for _ in range(2):
        torch.manual_seed(1)
        loss, network = make("gru")
        learners.append((Learner(network, loss, adam(), followed()), network))
    (first, network), (second, other) = learners
    rows = batch("gru")
    first.step(rows)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for learner in (first, second):
        learner.step(rows)
    assert second.updates == 2
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), other.parameters(), strict=True))


def boltzmann(**changes):
    return BoltzmannSpec(**{"start": 1.0, "end": 1.0, "anneal_frames": 10, "clip": 500.0, **changes})


@pytest.mark.parametrize(
    ("exploration", "fits"),
    [
        (boltzmann(), True),
        (boltzmann(end=0.5), False),
        (boltzmann(start=2.0), False),
        (boltzmann(clip=5.0), False),
        (EpsGreedySpec(start=1.0, end=1.0, anneal_frames=10), False),
        (EpsGreedySpec(start=0.0, end=0.0, anneal_frames=10), False),
        (EpsLadderSpec(base=0.4, alpha=7.0, anneal_frames=0), False),
    ],
)
def test_only_the_softmax_itself_may_act(exploration, fits):
    run = SimpleNamespace(
        replay=SimpleNamespace(on_policy=True),
        exploration=exploration,
        total_frames=10,
        intrinsic=SimpleNamespace(rewards=False),
        meta=SimpleNamespace(single=True),
    )
    said = list(settings().needs(run))
    assert bool(said) != fits
    assert all("drawn from the softmax" in sentence for sentence in said)
