import itertools

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torchrl.modules import set_recurrent_mode

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import QSpec
from modules.networks.linear_recurrent import LruSpec, MinGruLayer, linear_scan
from modules.networks.recurrent import chrono_
from modules.networks.spec import NetworkSpec
from modules.networks.tensordict_modules import Policy
from modules.networks.torsos import ConvSpec, MlpSpec
from tests.modules.builders import MEMORIES, NO_INPUTS, network_spec, part, q_settings

VECTOR = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)
IMAGE = Spaces(observation_shape=(1, 20, 32), observation_dtype=torch.uint8, n_actions=2)

GAIN = 3.0


def conv(*, kernels=((5, 8), (2, 4)), strides=((5, 4), (1, 2)), channels=(4, 5), pool=False):
    return ConvSpec(
        channels=channels,
        kernels=kernels,
        strides=strides,
        pool=pool,
        out_features=6,
        activation="relu",
        background=255,
        gain=GAIN,
    )


def image_network(memory="lstm", torso=None):
    return NetworkSpec(
        span=0,
        streams="one",
        combine="sum",
        torso=torso or conv(),
        inputs=NO_INPUTS,
        memory=MEMORIES[memory],
        head=QSpec(hidden=(7,), bias=True, init="default"),
    )


class RunStub:
    def __init__(self, spaces):
        self.spaces, self.loss = spaces, q_settings()


def inputs(spaces, memory, *batch):
    """Observations, episode starts at none, and a random state, for `batch`."""
    shape = (*batch, *spaces.observation_shape)
    observation = torch.randint(255, shape, dtype=torch.uint8) if spaces is IMAGE else torch.randn(shape)
    return TensorDict(
        {
            keys.OBSERVATION: observation,
            keys.IS_INIT: torch.zeros(*batch, 1, dtype=torch.bool),
            **{key: torch.randn(*batch, *s.shape) for key, s in network_spec(memory).state().items()},
        },
        batch_size=batch,
    )


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(
    ("make", "spaces"),
    [(network_spec, VECTOR), (image_network, IMAGE), (lambda m: image_network(m, conv(pool=True)), IMAGE)],
)
def test_unrolled_equals_stepped(memory, make, spaces):
    """On plain tensors, as a TensorDict module in recurrent mode, and one step at a time."""
    network = make(memory).build(spaces)
    td = inputs(spaces, memory, 2, 5)
    with set_recurrent_mode("recurrent"):
        recurrent = network.tensordict_module()(td.clone())[keys.ACTION_VALUE]
    state = {key: td[key][:, 0] for key in network_spec(memory).state()}
    outputs, last = network.unroll(td, tuple(state.values()))
    unrolled = outputs[keys.ACTION_VALUE]
    assert unrolled.shape == (2, 5, spaces.n_actions)
    torch.testing.assert_close(unrolled, recurrent, rtol=1e-5, atol=1e-6)
    for t in range(5):
        out = network.tensordict_module()(td[:, t].clone().update(state))
        torch.testing.assert_close(out[keys.ACTION_VALUE], unrolled[:, t], rtol=1e-5, atol=1e-6)
        state = {key: out["next", key] for key in state}
    assert len(last) == len(state)
    for key, value in zip(state, last, strict=True):
        torch.testing.assert_close(value, state[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory_is_what_makes_the_past_count(memory):
    network = network_spec(memory).build(VECTOR)
    td = inputs(VECTOR, memory, 1, 4)
    other = td.clone()
    other[keys.OBSERVATION][0, 0] += 5.0
    with set_recurrent_mode("recurrent"), torch.no_grad():
        a, b = (network.tensordict_module()(x)[keys.ACTION_VALUE][0] for x in (td, other))
    changed = [not torch.equal(x, y) for x, y in zip(a, b, strict=True)]
    assert changed == [True, *[memory != "none"] * 3]


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_an_episode_starts_without_a_past(memory):
    """Where is_init is set, the state that comes in does not count."""
    network = network_spec(memory).build(VECTOR)
    td = inputs(VECTOR, memory, 2)
    fresh = td.clone()
    for key in network_spec(memory).state():
        fresh[key].zero_()
    started = td.clone()
    started[keys.IS_INIT][0] = True
    with torch.no_grad():
        old, new, mixed = (network.tensordict_module()(x)[keys.ACTION_VALUE] for x in (td, fresh, started))
    assert torch.equal(mixed[0], new[0])
    assert torch.equal(mixed[1], old[1])
    assert not torch.equal(old, new)


@pytest.mark.parametrize("memory", MEMORIES)
def test_greedy_policy_acts_like_its_network(memory):
    """Best action, next state, nothing else; and where an episode starts, the old state is not read."""
    network = network_spec(memory).build(VECTOR)
    td = inputs(VECTOR, memory, 6)
    td[keys.IS_INIT][::2] = True
    expected = network.tensordict_module()(td.clone())
    out = Policy(network)(td.clone())
    assert torch.equal(out[keys.ACTION], expected[keys.ACTION_VALUE].argmax(-1))
    assert out[keys.ACTION].dtype == torch.int64
    states = {("next", key) for key in network_spec(memory).state()}
    for key in states:
        torch.testing.assert_close(out[key], expected[key], rtol=1e-5, atol=1e-6)
    assert set(out.keys(True, True)) - set(td.keys()) == {keys.ACTION, *states}


@pytest.mark.parametrize("memory", MEMORIES)
def test_greedy_policy_follows_its_network(memory):
    """New weights show at once, and none is registered twice: pushed weights must arrive."""
    network = network_spec(memory).build(VECTOR)
    policy = Policy(network)
    assert [id(p) for p in policy.parameters()] == [id(p) for p in network.parameters()]
    td = inputs(VECTOR, memory, 50)
    before = policy(td.clone())[keys.ACTION]
    with torch.no_grad():
        for p in network.parameters():
            p.neg_()
    after = policy(td.clone())[keys.ACTION]
    assert not torch.equal(before, after)
    assert torch.equal(after, network.tensordict_module()(td.clone())[keys.ACTION_VALUE].argmax(-1))


def test_background_excites_nothing_and_full_contrast_is_the_gain():
    torso = conv().build(IMAGE)
    blank, black = (torso(torch.full((1, 1, 20, 32), grey, dtype=torch.uint8)) for grey in (255, 0))
    zero = torso.network(torch.zeros(1, 1, 20, 32))
    assert torch.equal(blank, zero)
    torch.testing.assert_close(black, torso.network(torch.full((1, 1, 20, 32), -GAIN)))


@pytest.mark.parametrize(("height", "width"), [(20, 160), (20, 32), (33, 47), (10, 20)])
def test_output_size_is_that_of_the_convolutions(height, width):
    torso = conv()
    spaces = Spaces(observation_shape=(1, height, width), observation_dtype=torch.uint8, n_actions=2)
    out = torso.build(spaces).network[0](torch.zeros(2, 1, height, width))
    rows, columns = torso.output_size(height, width)
    assert out.shape == (2, 5 * rows * columns)


def test_pool_averages_each_filter_over_the_image():
    image = torch.randint(255, (2, 1, 20, 32), dtype=torch.uint8)
    pooled = conv(pool=True).build(IMAGE)
    x = GAIN * (image.float() - 255) / 255
    body = pooled.network
    layers = [layer for layer in body[0].modules() if isinstance(layer, torch.nn.Conv2d)]
    for layer in layers:
        x = layer(x).relu()
    expected = body[1](x.mean((-1, -2))).relu()
    torch.testing.assert_close(pooled(image), expected)


@pytest.mark.parametrize(
    ("spec", "spaces", "message"),
    [
        (image_network(), VECTOR, "network/torso=conv needs uint8 images [C, H, W], but observations are [3]"),
        (network_spec("lstm"), IMAGE, "network/torso=mlp needs vectors or grids, but observations are [1, 20, 32]"),
        (image_network(torso=conv(strides=((1, 1),))), IMAGE, "must have one entry per layer each"),
        (image_network(torso=conv(kernels=((21, 8), (2, 4)))), IMAGE, "images of [1, 20, 32] are too small"),
        (image_network(torso=conv(kernels=((5, 8), (9, 4)))), IMAGE, "images of [1, 20, 32] are too small"),
    ],
)
def test_torso_must_fit_the_observations(spec, spaces, message):
    (sentence,) = spec.needs(RunStub(spaces))
    assert message in sentence


def test_fitting_torsos_are_accepted():
    assert not list(image_network().needs(RunStub(IMAGE)))
    assert not list(network_spec("none").needs(RunStub(VECTOR)))
    assert isinstance(network_spec("none").torso, MlpSpec)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_span_makes_units_remember(kind):
    """What was put into the state is there after 30 steps with nothing to see, and half gone at once without a span."""
    h, kept = 64, {}
    for span in (0, 40):
        torch.manual_seed(0)
        module = kind(3, h, batch_first=True)
        before = [p.clone() for p in module.parameters()]
        chrono_(module, span)
        assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)) == (span == 0)
        for name, p in module.named_parameters():
            if name.startswith("weight"):
                p.data.zero_()  # the gates as they are by their biases
        one, zero = torch.ones(1, 1, h), torch.zeros(1, 1, h)
        states = [(zero, c) if kind is nn.LSTM else c for c in (one, zero)]
        ends = [module(torch.zeros(1, 30, 3), state)[1] for state in states]
        a, b = (end[1] if kind is nn.LSTM else end for end in ends)
        kept[span] = (a - b).mean().item()
    assert kept[0] < 1e-6
    # Units with T drawn from 2 to 40 keep (1 - 1/T)^30.
    expected = torch.tensor([(1 - 1 / t) ** 30 for t in torch.linspace(2, 40, 1000).tolist()]).mean().item()
    assert kept[40] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("memory", ["gru", "mingru", "lru"])
def test_in_recurrent_mode_a_row_may_begin_episodes_in_its_middle(memory):
    """There the state that is stored counts, as in TorchRL's own modules; the same as rows cut apart."""
    spec = network_spec(memory)
    network = spec.build(VECTOR)
    td = inputs(VECTOR, memory, 3, 6)
    td[keys.IS_INIT][0, 2], td[keys.IS_INIT][2, 2], td[keys.IS_INIT][1, 5] = True, True, True
    with set_recurrent_mode("recurrent"), torch.no_grad():
        whole = network.tensordict_module()(td.clone())[keys.ACTION_VALUE]
    for row, cuts in enumerate(([0, 2, 6], [0, 5, 6], [0, 2, 6])):
        for start, end in itertools.pairwise(cuts):
            piece = td[row : row + 1, start:end]
            state = tuple(piece[key][:, 0] for key in spec.state())
            with torch.no_grad():
                outputs, _ = network.unroll(piece, state)
            torch.testing.assert_close(whole[row, start:end], outputs[keys.ACTION_VALUE][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 37])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_parallel_scan_is_the_recurrence_and_has_its_gradient(steps, dtype, rows):
    torch.manual_seed(steps)
    a = (0.7 * torch.rand(rows, steps, 3, dtype=dtype)).requires_grad_()
    b = torch.randn(2, steps, 3, dtype=dtype, requires_grad=True)
    x = before = torch.randn(2, 3, dtype=dtype, requires_grad=True)
    expected = []
    for t in range(steps):
        x = a[:, t] * x + b[:, t]
        expected.append(x)
    torch.testing.assert_close(linear_scan(a, b, before), torch.stack(expected, 1))
    assert torch.autograd.gradcheck(linear_scan, (a, b, before))


def test_a_span_makes_linear_memories_remember():
    """Of what was put in, units keep (1 − 1/T)^30 after 30 steps with nothing to see, T up to the span."""
    torch.manual_seed(0)
    layer = MinGruLayer(3, 2000, span=40)
    with torch.no_grad():
        layer.candidate.weight.zero_(), layer.candidate.bias.zero_(), layer.gate.weight.zero_()
        _, last = layer(torch.zeros(1, 30, 3), torch.ones(1, 2000))
    expected = torch.tensor([(1 - 1 / t) ** 30 for t in torch.linspace(2, 40, 1000).tolist()]).mean().item()
    assert last.mean().item() == pytest.approx(expected, abs=0.02)
    ring = LruSpec(name="lru", hidden_size=500, layers=1, r_min=0.5, r_max=0.9, max_phase=1.0)
    for span, inner, outer in ((0, 0.5, 0.9), (40, 0.0, 1 - 1 / 41)):
        radius = (-ring.build(part(3, 2, span)).layers[0].nu.exp()).exp()
        assert inner <= radius.min() < inner + 0.2
        assert outer - 0.05 < radius.max() <= outer
