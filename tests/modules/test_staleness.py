"""ΔQ against an agent that is stepped through whole episodes by hand."""

from dataclasses import replace

import pytest
import torch

from modules import keys
from modules.learner.staleness import delta_q
from modules.losses.quantile import QuantileLossSpec
from modules.networks.heads import QuantileSpec
from modules.networks.recurrent import GRU_STATE
from modules.replay.base import ReplayContext
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.replay.storage import MemmapSpec
from tests.modules.builders import STREAM_SPACES, loss_context, network_spec, q_settings, sharpen, stream

LENGTH, EPISODE = 3, 11
CPU = torch.device("cpu")


def replay_of(directory, data, **changes):
    base = {"capacity": 900, "length": LENGTH, "burn_in": 0, "overlap": 0, "state": "stored", "batch_rows": 4}
    spec = SequenceSpec(**{**base, **changes}, ratio=1.0, mirror=False, cross_mixture=0, storage=MemmapSpec())
    layout = spec.schema(network_spec("gru").memory.state(), ())
    replay = SequenceReplay(
        spec,
        ReplayContext(
            directory=directory, spaces=STREAM_SPACES, schema=layout, save_every=100, batch_frames=60, seed=0
        ),
    )
    replay.extend(data)
    replay.truncate()
    return replay


def acted(network, *, noise=0.0):
    """Episodes with the states that `network` had while it acted, give or take some noise: those of old weights."""
    data = stream([[EPISODE] * 5] * 4)[:, : 4 * EPISODE]
    data[keys.OBSERVATION] = torch.randn(4, 4 * EPISODE, 1)
    data["next", keys.OBSERVATION] = torch.cat((data[keys.OBSERVATION][:, 1:], torch.zeros(4, 1, 1)), 1)
    states = torch.zeros(4, 4 * EPISODE, 2, 4)
    for env in range(4):
        for t in range(4 * EPISODE):
            state = states[env, t] if t % EPISODE else torch.zeros(2, 4)
            states[env, t] = state
            if (t + 1) % EPISODE:
                now = {keys.OBSERVATION: data[keys.OBSERVATION][env, t].view(1, 1, 1)}
                states[env, t + 1] = network.unroll(now, (state.unsqueeze(0),))[1][0].squeeze(0)
    noisy = states + noise * torch.randn_like(states)
    first = (torch.arange(4 * EPISODE) % EPISODE == 0)[None, :, None, None]
    data[GRU_STATE[0]] = torch.where(first, 0, noisy)
    return data


@torch.no_grad()
def measure(tmp_path, *, noise, burn_in=0, overlap=0, state="stored"):
    torch.manual_seed(0)
    network = network_spec("gru").build(STREAM_SPACES)
    sharpen(network)
    replay = replay_of(tmp_path, acted(network, noise=noise), burn_in=burn_in, overlap=overlap, state=state)
    loss = q_settings().build(loss_context(network, burn_in))
    return delta_q(
        replay.sample_with_prefix(64, torch.Generator().manual_seed(0)), loss, replay.settings.length - overlap, CPU
    )


def test_it_compares_action_values_whatever_the_loss_learns_of_them(tmp_path):
    torch.manual_seed(0)
    network = replace(network_spec("gru"), head=QuantileSpec(hidden=(5,), bias=True, init="default", quantiles=7))
    network = network.build(STREAM_SPACES)
    replay = replay_of(tmp_path, acted(network))
    loss = QuantileLossSpec(gamma=0.9, n_step=1, double=True, kappa=1.0).build(loss_context(network))
    rows = replay.sample_with_prefix(64, torch.Generator().manual_seed(0))
    assert delta_q(rows, loss, replay.settings.length, CPU)["replay/delta_q_last"] < 1e-5


@pytest.mark.parametrize(("burn_in", "overlap"), [(0, 0), (2, 0), (0, 2), (2, 1)])
def test_fresh_states_are_not_stale(burn_in, overlap, tmp_path):
    measured = measure(tmp_path, noise=0.0, burn_in=burn_in, overlap=overlap)
    assert measured["replay/delta_q_first"] < 1e-5
    assert measured["replay/delta_q_last"] < 1e-5


def test_what_helps_against_stale_states(tmp_path):
    """As in the paper: zeros are worst, old states better, burn-in helps both, and time heals."""
    cases = {"zero": {"state": "zero"}, "zero, burn-in": {"state": "zero", "burn_in": 3}, "stored": {}}
    cases |= {"stored, burn-in": {"burn_in": 3}}
    first = {}
    for name, case in cases.items():
        measured = measure(tmp_path / name, noise=0.1, **case)
        first[name] = measured["replay/delta_q_first"]
        assert measured["replay/delta_q_last"] < first[name]
    assert first["zero"] > first["stored"] > first["stored, burn-in"]
    assert first["zero"] > first["zero, burn-in"] > first["stored, burn-in"]


def test_there_is_nothing_to_measure_without_a_memory_or_rows(tmp_path):
    network = network_spec("none").build(STREAM_SPACES)
    assert delta_q([], q_settings().build(loss_context(network)), 3, CPU) == {}
    whole = replay_of(tmp_path, acted(network_spec("gru").build(STREAM_SPACES)), length=EPISODE)
    assert [*whole.sample_with_prefix(64, torch.Generator())] == []  # every row starts its episode
