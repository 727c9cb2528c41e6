"""Every observation of an episode counts once, in the cell in which it was made."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict.nn import TensorDictModule

from modules import keys
from modules.callbacks.visits import Visits, VisitsSpec
from modules.collect import SyncCollection, SyncSpec
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.worlds.explore import DeepSeaSpec, DiscountingChainSpec, GoalCorridorSpec, RandomCoinSpec
from modules.envs.worlds.tiny import MemoryLenSpec
from tests.modules.builders import actor_in, gym_spec

WATCHED: Any = None  # nothing of it is looked at
WORLDS = {
    "corridor": GoalCorridorSpec(length=3, horizon=5, mapping_seed=1, **UNCHANGED),
    "sea": DeepSeaSpec(size=4, mapping_seed=1, move_cost=0.01, **UNCHANGED),
    "coin": RandomCoinSpec(size=2, horizon=4, **UNCHANGED),
    "chain": DiscountingChainSpec(mapping_seed=1, **UNCHANGED),
}


def collected(spec, *, envs=3, steps=7, batches=4):
    """Batches of random steps that follow each other, with the resets of ended episodes among them."""
    torch.manual_seed(0)
    actions = spec.spaces().n_actions
    policy = TensorDictModule(
        lambda observation: torch.randint(actions, (len(observation),)),
        in_keys=[keys.OBSERVATION],
        out_keys=[keys.ACTION],
    )
    collection = SyncCollection(SyncSpec(num_envs=envs, steps=steps), actor_in(spec.build(EnvContext(envs)), policy))
    collection.restart(1)
    return [batch.clone() for _, (_, batch, _) in zip(range(batches), collection, strict=False)]


@pytest.mark.parametrize("name", WORLDS)
def test_observations_tell_where_they_were_made(name):
    """As the world itself does of its states; deep sea shows nothing on the ground, its last row."""
    spec = WORLDS[name]
    world, grid = spec.world(), spec.grid_map()
    assert grid.shape == world.grid_shape
    state, known, unknown = world.start(50), 0, 0
    for _ in range(world.steps + 1):
        told, true = grid.cells(world.observe(state)), world.cells(state)
        ground = true >= 16 if name == "sea" else torch.zeros(50, dtype=torch.bool)
        assert told.tolist() == torch.where(ground, -1, true).tolist()
        known, unknown = known + int((~ground).sum()), unknown + int(ground.sum())
        if int(state["time"].max()) < world.steps:
            state, *_ = world.step(state, torch.randint(world.spaces.n_actions, (50,)))
    assert known >= 200
    assert (unknown > 0) == (name == "sea")


def test_every_observation_of_an_episode_counts_once():
    spec = WORLDS["corridor"]
    visits, expected, ended = Visits(spec.grid_map()), [0] * 4, 0
    for batch in collected(spec):
        visits.on_batch(WATCHED, batch)
        for env in batch:
            for step in env:
                expected[int(step[keys.OBSERVATION].argmax())] += 1
                if step["next", keys.DONE]:
                    expected[int(step["next", keys.OBSERVATION].argmax())] += 1
                    ended += 1
    assert ended > 10
    assert visits.counts.tolist() == [expected]
    assert sum(expected) == 4 * 3 * 7 + ended


def test_what_an_observation_does_not_tell_is_not_counted():
    visits = Visits(WORLDS["sea"].grid_map())
    for batch in collected(WORLDS["sea"]):
        visits.on_batch(WATCHED, batch)
    assert visits.counts.shape == (5, 4)
    assert int(visits.counts.sum()) == 4 * 3 * 7
    assert int(visits.counts[-1].sum()) == 0


def test_counts_go_on_after_a_checkpoint():
    spec = WORLDS["corridor"]
    batches = collected(spec)
    whole, first, second = (Visits(spec.grid_map()) for _ in range(3))
    for batch in batches:
        whole.on_batch(WATCHED, batch)
    first.on_batch(WATCHED, batches[0])
    second.load_state_dict(first.state_dict())
    for batch in batches[1:]:
        first.on_batch(WATCHED, batch)  # the state is a copy
        second.on_batch(WATCHED, batch)
    assert second.counts.tolist() == whole.counts.tolist() == first.counts.tolist()
    assert int(whole.counts.sum()) > 4 * 3 * 7


@pytest.mark.parametrize(
    "spec", [MemoryLenSpec(length=3, bits=1, **UNCHANGED), gym_spec("CartPole-v1")], ids=["world", "gym"]
)
def test_without_a_map_nothing_is_looked_at(spec):
    assert not VisitsSpec().applies(SimpleNamespace(env=spec))
    assert VisitsSpec().applies(SimpleNamespace(env=WORLDS["sea"]))
