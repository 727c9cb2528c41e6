"""The priorities that actors give their rows are those of the run's loss with the same weights in both networks."""

from contextlib import closing
from itertools import islice

import pytest
import torch

from benchmarks.subjects import run_of
from modules import keys
from modules.collect.sync import SyncCollection
from modules.replay.sequence import previous_steps
from pipelines.agent.actor import worker_actor

ACTORS = ("device=cpu", "collector=multi_async", "collector.rows=actor", "collector.num_envs=4", "collector.steps=40")
LOSS = ("loss=q", "loss.n_step=2", "loss.rescale_eps=1e-2", "replay.eta=0.7")
R2D2 = ("r2d2_memory_len", "env.length=5", "loss.gamma=0.8")
NGU = ("ngu_cartpole",)


@pytest.mark.parametrize("words", [R2D2, NGU], ids=["R2D2", "NGU"])
def test_they_are_those_of_the_loss(words):
    """Of rows whose episode terminates, since else the loss knows one value more."""
    run = run_of(*words, *ACTORS, *LOSS)
    actor, cut = worker_actor(run, 0), []
    assert actor.cutter is not None
    cutter = actor.cutter()
    with closing(SyncCollection(run.collector, actor)) as collection:
        actor.anneal(0)
        collection.restart(0)
        for collected in islice(collection, 6):
            cut.append(cutter.push(collected.batch))
    rows = torch.cat([part for part in cut if len(part)])
    rows = rows[rows[keys.TERMINATED].any(1)]
    assert len(rows) > 5
    first = rows.pop(keys.PRIORITY)
    loss = run.loss.build(run.loss_context(actor.network))
    errors = loss(dict(rows.items()) | previous_steps(dict(rows.items()), run.sequence_schema))["errors"]
    expected = run.replay.priority(errors, rows[keys.MASK][:, run.replay.burn_in :])
    torch.testing.assert_close(first, expected)
    assert first.std() > 1e-3
