"""What every small world must keep to."""

import torch

from modules.envs.base import EnvContext


def random_actions(world, steps):
    """For six episodes, [steps, 6]."""
    return torch.randint(world.spaces.n_actions, (steps, 6), generator=torch.Generator().manual_seed(0))


def assert_a_batch_steps_like_each_of_its_episodes_alone(world, actions, *, seed=3, looks=()):
    """Six episodes under `actions` [T, 6], together and one by one; `looks` at states are compared like `observe`."""
    world.seed(seed)
    batch = world.start(6)
    alone = [{key: value[[n]].clone() for key, value in batch.items()} for n in range(6)]
    for action in actions:
        batch, *outcome = world.step(batch, action)
        for n in range(6):
            alone[n], *single = world.step(alone[n], action[[n]])
            assert all(torch.equal(a[[n]], b) for a, b in zip(outcome, single, strict=True))
            assert alone[n].keys() == batch.keys()
            assert all(torch.equal(value, batch[key][[n]]) for key, value in alone[n].items())
            assert all(torch.equal(look(batch)[[n]], look(alone[n])) for look in (world.observe, *looks))


def assert_a_partial_reset_leaves_what_was_handed_out_alone(spec):
    """The state is overwritten in place: actions, observations and cells of a map may not be parts of it."""
    env = spec.build(EnvContext(4))
    td, kept = env.reset(), []
    look = getattr(env.base_env.world, "cells", env.base_env.world.observe)
    for _ in range(3):
        step, td = env.step_and_maybe_reset(env.rand_action(td))
        seen = look(env.base_env.state)
        kept.append((step, step.clone(), seen, seen.clone()))
    before = {key: value.clone() for key, value in env.base_env.state.items()}
    env.reset(td.set("_reset", torch.tensor([[True], [False], [True], [False]])))
    assert all((now == then).all() and torch.equal(a, b) for now, then, a, b in kept)
    assert env.base_env.state["time"].tolist() == [0, 3, 0, 3]
    assert all(torch.equal(value[1::2], before[key][1::2]) for key, value in env.base_env.state.items())
