"""REINFORCE in the same pipeline: what does not go together is said in one sentence, and a resumed run is the same."""

import signal
from functools import cache, partial

import pytest
import torch
from hydra import compose, initialize_config_dir

from modules import checkpoint, keys
from modules.spec import UsageError
from pipelines.config.check import refuse_misfits
from pipelines.config.hints import CONF
from pipelines.config.schema import RunConfig, read
from pipelines.training.build import build
from tests.pipelines import deaths
from tests.pipelines.test_resume import N, assert_same, flat, resume, summary, train

POLICY, VALUES = "+exp=reinforce_cartpole", "+exp=drqn_cartpole_masked"
# Of the 6 episodes of 3 steps in a batch, those of every second one wait: also when a checkpoint is written.
SMALL = (POLICY, "+debug=smoke_on_policy", "env=memory_len", "env.length=2", "replay.batch_rows=9", "video=false")
SMALL += ("network/memory=lstm", "save_every=80", "eval_every=120", f"total_frames={2 * N}", "hydra.run.dir=run")


@cache
def composed(*words: str) -> RunConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return read(compose("config", list(words)))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((POLICY, "replay=sequence"), "nothing older: use replay=on_policy"),
        ((POLICY, "replay=prioritised"), "nothing older: use replay=on_policy"),
        ((POLICY, "exploration=eps_greedy"), "drawn from the softmax .*exploration=boltzmann"),
        ((POLICY, "exploration.end=0.1"), "exploration.end=1"),
        ((POLICY, "network/head=dueling"), "use network/head=q"),
        ((POLICY, "meta=uniform"), "use intrinsic=none and meta=none"),
        ((POLICY, "intrinsic=rnd"), "use intrinsic=none and meta=none"),
        ((POLICY, "collector=multi_async"), "use collector=sync"),
        ((POLICY, "replay.length=20"), "must not be less than the environment's 500 steps"),
        ((POLICY, "loss=q"), "use replay=sequence, or loss=reinforce"),
        (
            (VALUES, "replay=on_policy", "replay.length=0", "~replay.ratio", "~replay.capacity"),
            "use replay=sequence, or loss=reinforce",
        ),
        ((VALUES, "loss=reinforce", "exploration=boltzmann", "exploration.end=1"), "use replay=on_policy"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(words, says):
    with pytest.raises(UsageError, match=says) as refused:
        refuse_misfits(composed(*words))
    assert "; " not in str(refused.value)


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
def test_the_policy_that_acts_is_the_one_that_the_loss_sees(memory, tmp_path):
    """With frozen weights, the loss's log-probabilities of an episode are those with which its actions were drawn."""
    words = ("+debug=smoke_on_policy", "env=memory_len", "env.length=7", f"network/memory={memory}")
    parts = build(composed(POLICY, *words, "logger=none"), tmp_path, {}, None)
    parts.collection.restart(0)
    batch = next(iter(parts.collection))[1]
    parts.replay.extend(batch)
    rows = parts.replay.sample()
    out, _ = parts.learner.network.unroll(rows, tuple(rows[key] for key in parts.run.network.state()))
    acting = parts.actor.policy.network
    state = tuple(entry.zeros(2) for entry in parts.run.network.state().values())
    for t in range(8):
        seen, state = acting.unroll({keys.OBSERVATION: batch[keys.OBSERVATION][:, t : t + 1]}, state)
        torch.testing.assert_close(out[keys.ACTION_VALUE][:2, t], seen[keys.ACTION_VALUE][:, 0], rtol=1e-5, atol=1e-6)
    assert torch.equal(rows[keys.ACTION][:2], batch[keys.ACTION][:, :8])
    parts.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The directory of a run that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("uninterrupted")
    assert train(cwd, *SMALL).code == 0
    assert summary(cwd / "run")["updates"] > 8
    return cwd / "run"


def test_killed_and_resumed_is_the_same(uninterrupted, tmp_path):
    assert_survives_kills(SMALL, uninterrupted, tmp_path)


def assert_survives_kills(words, uninterrupted, cwd):
    """A run that is killed three times leaves the same as one that was not, and rows that wait in its checkpoint."""
    moments = [partial(deaths.in_step, 110), partial(deaths.before_file, "frames_*.pt", 2), partial(deaths.in_step, 30)]
    assert train(cwd, *words, before=moments[0]).code == -signal.SIGKILL
    for moment in moments[1:]:
        assert resume(cwd, before=moment).code == -signal.SIGKILL
    assert resume(cwd).code == 0
    here = cwd / "run"
    assert_same(here, uninterrupted)
    ours, theirs = (
        flat(checkpoint.load(checkpoint.latest(run / "checkpoints"))["replay"]) for run in (here, uninterrupted)
    )
    assert ours.keys() == theirs.keys() > {"rows/observation/", "rows/reward/"}
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
