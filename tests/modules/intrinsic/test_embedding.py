"""Embeddings: what the inverse model learns, copies that are frozen inside an episode."""

import copy
from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict
from torch.func import functional_call, stack_module_state
from torch.nn.functional import cross_entropy

from modules.intrinsic import IntrinsicContext
from modules.intrinsic.embedding import InverseDynamics, InverseDynamicsSpec, PerEnvironment, RandomEmbeddingSpec
from modules.intrinsic.parts import encoder
from modules.intrinsic.stacked import plain, stack_layers
from modules.networks.grid import GridSpec
from modules.networks.torsos import ACTIVATIONS, MlpSpec
from tests.modules.intrinsic.rows import CONV, CPU, IMAGES, MLP, VECTORS, Spaces, descent, make_rows, walks


def make(spaces: Spaces = VECTORS, **changes) -> InverseDynamics:
    torso = MLP if len(spaces.observation_shape) == 1 else CONV
    settings = {"torso": torso, "features": 8, "hidden": 32, "last_frames": 5, "descent": descent(weight_decay=1e-5)}
    return InverseDynamicsSpec(**(settings | changes)).build(IntrinsicContext(spaces=spaces, device=CPU))


def test_actions_are_learned_and_noise_is_ignored():
    """The embedding tells the action, and moves by what the agent controls, not by what it does not."""
    f = make()
    first = f.step(walks(64, 6))
    for _ in range(200):
        last = f.step(walks(64, 6))
    assert first["inverse_accuracy"] < 0.5
    assert last["inverse_accuracy"] > 0.9
    assert last["inverse_loss"] < 0.3 < first["inverse_loss"]
    x = torch.randn(500, 4)
    own, noise = x.clone(), x.clone()
    own[:, :2] += torch.randn(500, 2)
    noise[:, 2:] += torch.randn(500, 2)
    moved = [(f.network(y) - f.network(x)).norm(dim=-1).mean() for y in (own, noise)]
    assert moved[0] > 3 * moved[1]


def test_padding_and_early_steps_do_not_count():
    rows = walks(4, 9)
    mask = torch.zeros(4, 9, dtype=torch.bool)
    mask[:, 1:8] = True
    x, action = rows["observation"], rows["action"]
    changed, other = x.clone(), action.clone()
    changed[:, :3], changed[:, 9:] = 1e3, 1e3  # steps 3 … 7 lie between observations 3 … 8
    other[:, :3], other[:, 8:] = 3, 3
    f, twin = make(), make()
    twin.load_state_dict(f.state_dict())
    ours, theirs = f.step(make_rows(x, action, mask)), twin.step(make_rows(changed, other, mask))
    assert ours == theirs
    assert all(torch.equal(a, b) for a, b in zip(f.network.parameters(), twin.network.parameters(), strict=True))
    other[:, 7] = (other[:, 7] + 1) % 4
    assert f.step(make_rows(x, action, mask)) != twin.step(make_rows(changed, other, mask))


def test_loss_is_the_mean_cross_entropy_over_real_steps():
    f, rows = make(), walks(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0]]).bool()
    losses = []
    with torch.no_grad():
        for b, t in mask.nonzero().tolist():
            before, after = (f.network(rows["observation"][b, i]) for i in (t, t + 1))
            losses.append(-f.logits(before, after).log_softmax(-1)[int(rows["action"][b, t])])
    got = f.step(make_rows(rows["observation"], rows["action"], mask))["inverse_loss"]
    assert got == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_resuming_continues_exactly():
    batches = [walks(8, 6) for _ in range(6)]
    first, second = make(), make()
    for rows in batches[:3]:
        first.step(rows)
    second.load_state_dict(first.state_dict())
    assert [first.step(r) for r in batches[3:]] == [second.step(r) for r in batches[3:]]


@pytest.mark.parametrize(
    ("torso", "spaces"),
    [
        (MLP, VECTORS),
        (MLP, Spaces((2, 3), torch.float32, 2)),
        (CONV, IMAGES),
        (GridSpec(channels=(3,), kernel=3, out_features=8, activation="relu"), Spaces((3, 6), torch.float32, 2)),
    ],
)
def test_each_environment_has_weights_of_its_own(torso, spaces):
    networks = [encoder(torso, spaces, 8) for _ in range(3)]
    newest = encoder(torso, spaces, 8)
    acting = PerEnvironment(newest, 3)
    for i, network in enumerate(networks):
        newest.load_state_dict(network.state_dict())
        acting.refresh(torch.arange(3) == i)
    x = (torch.rand(3, *spaces.observation_shape) * 255).to(spaces.observation_dtype)
    expected = torch.stack([network(one) for network, one in zip(networks, x, strict=True)])
    assert torch.allclose(acting(x), expected, rtol=1e-4, atol=1e-4)
    assert acting(x).shape == (3, 8)


@pytest.mark.parametrize("kind", ["mlp", "conv", "grid"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_environment_has_weights_of_its_own_behind_any_activation(activation, kind):
    torso, spaces = {
        "mlp": (MLP, VECTORS),
        "conv": (CONV, IMAGES),
        "grid": (
            GridSpec(channels=(3,), kernel=3, out_features=8, activation="relu"),
            Spaces((3, 6), torch.float32, 2),
        ),
    }[kind]
    networks = [encoder(replace(torso, activation=activation), spaces, 8) for _ in range(2)]
    with torch.no_grad():
        for i, network in enumerate(networks):
            for layer in network.modules():
                if isinstance(layer, torch.nn.PReLU):
                    layer.weight.fill_(0.1 + 0.5 * i)
    acting = PerEnvironment(networks[0], 2)
    acting._network = networks[1]
    acting.refresh(torch.tensor([False, True]))
    x = (torch.rand(2, *spaces.observation_shape) * 255).to(spaces.observation_dtype)
    expected = torch.stack([network(one) for network, one in zip(networks, x, strict=True)])
    assert torch.allclose(acting(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_activation_must_go_through_vmap(activation):
    form = encoder(replace(MLP, activation=activation), VECTORS, 8)
    assert None not in plain(form, "", stack_module_state([form, form])[0])


@pytest.mark.parametrize("num_envs", [1, 3, 64])
@pytest.mark.parametrize(("hidden", "shape"), [((), (5,)), ((9,), (2, 3))])
def test_layers_called_in_turn_give_what_vmap_gives(num_envs, hidden, shape):
    form = encoder(
        MlpSpec(out_features=7, hidden=hidden, activation="relu", norm="none", bias=True, init="default"),
        Spaces(shape, torch.uint8, 2),
        8,
    )
    weights, _ = stack_module_state([copy.deepcopy(form) for _ in range(num_envs)])
    weights = {name: torch.randn_like(value) for name, value in weights.items()}
    assert None not in plain(form, "", weights)
    x = torch.randint(0, 9, (num_envs, *shape), dtype=torch.uint8)
    vmapped = torch.vmap(lambda w, one: functional_call(form, w, (one,)))(weights, x.unsqueeze(1)).squeeze(1)
    assert torch.equal(stack_layers(form, weights)(x.unsqueeze(1)).squeeze(1), vmapped)
    assert None in plain(torch.nn.Sequential(torch.nn.Bilinear(1, 2, 3)), "", {})


@pytest.mark.parametrize("batch", [1, 5])
def test_convolutions_in_groups_give_what_vmap_gives(batch):
    form = encoder(CONV, IMAGES, 8)
    weights, _ = stack_module_state([encoder(CONV, IMAGES, 8) for _ in range(3)])
    weights = {name: value.detach() for name, value in weights.items()}
    assert None not in plain(form, "", weights)
    x = torch.randint(0, 256, (3, batch, *IMAGES.observation_shape), dtype=torch.uint8)
    vmapped = torch.vmap(lambda w, one: functional_call(form, w, (one,)))(weights, x)
    assert torch.allclose(stack_layers(form, weights)(x), vmapped, atol=1e-5)


def test_embedding_is_frozen_inside_an_episode():
    f = make()
    acting, x = f.acting(2), torch.randn(2, 4)
    before = acting(x)
    f.step(walks(8, 6))
    assert torch.equal(acting(x), before)
    acting.refresh(torch.tensor([False, False]))
    assert torch.equal(acting(x), before)
    acting.refresh(torch.tensor([False, True]))
    assert torch.equal(acting(x)[0], before[0])
    assert torch.allclose(acting(x)[1], f.network(x[1]), atol=1e-6)
    assert (acting(x)[1] - before[1]).abs().max() > 1e-4
    assert not acting(x).requires_grad


def test_random_embedding_never_learns():
    f = RandomEmbeddingSpec(torso=MLP, features=8).build(IntrinsicContext(spaces=VECTORS, device=CPU))
    acting, x = f.acting(5), torch.randn(5, 4)
    before = acting(x)
    assert before.shape == (5, 8)
    assert f.step(TensorDict()) == {}
    acting.refresh(torch.ones(5, dtype=torch.bool))
    assert torch.equal(acting(x), before)
    assert not any(p.requires_grad for p in f.network.parameters())
    again = RandomEmbeddingSpec(torso=MLP, features=8).build(IntrinsicContext(spaces=VECTORS, device=CPU))
    again.load_state_dict(f.state_dict())
    assert torch.equal(again.acting(5)(x), before)


def test_the_weights_of_embedding_and_head_decay():
    """As plain Adam on the loss with an L2 penalty on both."""
    f = make(descent=descent(weight_decay=0.3))
    twin = copy.deepcopy(f)
    parameters = [*twin.network.parameters(), *twin.head.parameters()]
    adam = torch.optim.Adam(parameters, lr=3e-3, eps=1e-4)
    for _ in range(4):
        rows = walks(8, 5)
        embedded = twin.network(rows["observation"])
        logits = twin.logits(embedded[:, :-1], embedded[:, 1:])
        loss = cross_entropy(logits.flatten(0, 1), rows["action"].long().flatten())
        adam.zero_grad()
        (loss + 0.3 / 2 * sum(p.square().sum() for p in parameters)).backward()
        adam.step()
        f.step(rows)
    ours = [*f.network.parameters(), *f.head.parameters()]
    torch.testing.assert_close(ours, parameters, rtol=1e-4, atol=1e-6)
