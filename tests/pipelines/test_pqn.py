"""PQN in the same pipeline: what does not go together is said in one sentence, and a resumed run is the same."""

import pytest

from modules.replay.rollout import RolloutSpec
from modules.spec import UsageError
from pipelines.config.check import refuse_misfits
from tests.pipelines.test_reinforce import assert_survives_kills, composed
from tests.pipelines.test_resume import N, summary, train

PQN = "+exp=pqn_cartpole"
# Of the 6 episodes of 3 steps in a batch, two rows each, those of every second one wait, also when one is saved.
SMALL = ("+exp=pqn_memory_len", "+debug=smoke_on_policy", "env.length=2", "replay.length=2", "replay.batch_rows=5")
SMALL += ("replay.rollout_rows=15", "video=false", "save_every=80", "eval_every=120", f"total_frames={2 * N}")
SMALL += ("hydra.run.dir=run",)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((PQN, "collector.num_envs=8", "replay.batch_rows=9"), "batch_rows=9 must not exceed replay.rollout_rows=8"),
        ((PQN, "loss=reinforce", "exploration=boltzmann", "exploration.end=1"), "use replay=on_policy"),
        ((PQN, "collector=multi_async"), "use collector=sync"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(words, says):
    with pytest.raises(UsageError, match=says):
        refuse_misfits(composed(*words))


@pytest.mark.parametrize(("words", "has_target"), [((), False), (("loss=q",), True), (("network/memory=gru",), False)])
def test_its_parts_are_swapped_by_one_override(words, has_target):
    run = composed("algo=pqn", "env=gym", "network/torso=mlp", *words)
    refuse_misfits(run)
    assert isinstance(run.replay, RolloutSpec)
    assert run.loss.has_target == has_target
    assert bool(run.network.state()) == ("network/memory=gru" in words)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The directory of a run that nothing disturbed."""
    cwd = tmp_path_factory.mktemp("uninterrupted")
    assert train(cwd, *SMALL).code == 0
    assert summary(cwd / "run")["updates"] > 8
    return cwd / "run"


def test_killed_and_resumed_is_the_same(uninterrupted, tmp_path):
    assert_survives_kills(SMALL, uninterrupted, tmp_path)
