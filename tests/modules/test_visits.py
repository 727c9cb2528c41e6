"""Every state of an episode counts once, in the cell that the world says."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule

from modules import keys
from modules.collect import SyncSpec
from modules.envs.explore import DeepSeaSpec, DiscountingChainSpec, GoalCorridorSpec, RandomCoinSpec
from modules.envs.tiny import MemoryLenSpec
from modules.visits import Visits
from tests.modules.builders import gym_spec

WORLDS = {
    "corridor": GoalCorridorSpec(length=3, horizon=5, mapping_seed=1),
    "sea": DeepSeaSpec(size=4, mapping_seed=1, move_cost=0.01),
    "coin": RandomCoinSpec(size=2, horizon=4),
    "chain": DiscountingChainSpec(mapping_seed=1),
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
    collection = SyncSpec(num_envs=envs, steps=steps).build(spec.build(envs, None), policy)
    collection.restart(1)
    return [batch.clone() for _, (_, batch) in zip(range(batches), collection, strict=False)]


def seen(spec, observation):
    """Cells by the observations, whatever the world says of its state; None where they do not tell."""
    size = spec.grid_shape()[1]
    if isinstance(spec, DiscountingChainSpec):
        return [(int(chain) + 1) * size + round(float(time) * 100) for chain, time in observation]
    if isinstance(spec, RandomCoinSpec):
        observation = observation[..., :size]
    return [int(one.argmax()) if one.any() else None for one in observation.flatten(1)]


@pytest.mark.parametrize("name", WORLDS)
def test_visits_are_those_that_the_observations_show(name):
    spec = WORLDS[name]
    visits = Visits(spec.grid_shape())
    expected, unknown, ended = torch.zeros(visits.counts.numel(), dtype=torch.int64), 0, 0
    for batch in collected(spec, steps=40 if name == "chain" else 7):
        visits.add(batch)
        done = batch["next", keys.DONE].squeeze(-1)
        ended += int(done.sum())
        states = [batch[keys.OBSERVATION].flatten(0, 1), batch["next", keys.OBSERVATION][done]]
        for cell in [cell for observation in states for cell in seen(spec, observation)]:
            if cell is None:
                unknown += 1
            else:
                expected[cell] += 1
    assert ended > 2
    if name == "sea":  # nothing is observed on the ground, its last row
        assert int(visits.counts[-1].sum()) == unknown == ended
        visits.counts[-1] = 0
    assert visits.counts.flatten().tolist() == expected.tolist()


def test_counts_go_on_after_a_checkpoint():
    batches = collected(WORLDS["corridor"])
    whole, first, second = (Visits((1, 4)) for _ in range(3))
    for batch in batches:
        whole.add(batch)
    first.add(batches[0])
    second.load_state_dict(first.state_dict())
    for batch in batches[1:]:
        first.add(batch)  # the state is a copy
        second.add(batch)
    assert second.counts.tolist() == whole.counts.tolist() == first.counts.tolist()
    assert int(whole.counts.sum()) > 4 * 3 * 7


@pytest.mark.parametrize("spec", [MemoryLenSpec(length=3, bits=1), gym_spec("CartPole-v1")], ids=["world", "gym"])
def test_without_a_map_steps_name_no_cell_and_nothing_is_counted(spec):
    assert spec.grid_shape() is None
    (batch,) = collected(spec, batches=1)
    assert not any("cell" in str(key) for key in batch.keys(include_nested=True))
    visits = Visits(spec.grid_shape())
    visits.add(batch)
    visits.add(TensorDict({}, []))  # it looks at nothing
    assert visits.counts.numel() == 0
