"""What a run takes is bounded before it is allocated: too much is one sentence, and the bound counts what is built."""

from importlib.util import find_spec

import pytest
import torch

from modules.intrinsic import IntrinsicContext
from modules.keys import Spaces
from modules.spec import UsageError
from pipelines.api import compose
from pipelines.config import sizes
from pipelines.config.check import check, refuse_misfits
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from pipelines.config.sizes import (
    built_parts,
    refuse_full_disk,
    refuse_too_large,
    size_of_network,
    size_of_novelty,
    tensors_in,
)

MASKED, FAMILY = "+exp=drqn_cartpole_masked", "+exp=agent57_corridor"


def run_of(*words):
    return read(compose_settings(words)[0])


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((MASKED, "network.memory.hidden_size=200000"), r"the network .*\(network\)"),
        ((MASKED, "network.head.hidden=[3000000000,3000000000]"), "network: one of its tensors is larger"),
        ((MASKED, "network/memory=gru", "network.memory.hidden_size=4611686018427387904"), "takes|larger"),
        ((MASKED, "network.torso.hidden=[70000,70000]"), r"\(network\)"),
        ((MASKED, "eval_episodes=9000000000000"), "eval_episodes"),
        ((MASKED, "replay=prioritised", "replay.capacity=7000000000000"), "replay.capacity"),
        (("+exp=tour_q", "network.torso.rows=900000000000"), r"\(network\)"),
        (("+exp=reinforce_cartpole", "replay.batch_rows=100000000000"), "replay.batch_rows"),
        ((FAMILY, "intrinsic.memory.capacity=3000000000"), "episodic memories"),
        ((FAMILY, "intrinsic.embedding.hidden=90000000000"), "novelty"),
        ((FAMILY, "meta.evaluator.window=400000000000"), "bandits"),
        (("+exp=drqn_cartpole", "env.height=900000000"), "replay.batch_rows"),
    ],
)
def test_what_no_memory_holds_is_refused_with_the_setting(words, names):
    with pytest.raises(UsageError, match=names):
        compose(*words)


@pytest.mark.parametrize("words", [("seed=9223372036854775808",), ("threads=5000",), ("replay.capacity=1e25",)])
@pytest.mark.parametrize("preset", [MASKED, FAMILY])
def test_numbers_beyond_those_of_tensors_are_refused(words, preset):
    with pytest.raises(UsageError, match=r"64 bits|4096"):
        compose(preset, *words)


def test_checkpoints_count_on_the_disk(tmp_path):
    many = ("keep_checkpoints=1000000000", "save_every=1000", "total_frames=1000000000000")
    with pytest.raises(UsageError, match=r"replay and checkpoints.*lower keep_checkpoints"):
        check(run_of(MASKED, *many), tmp_path)
    check(run_of(MASKED, "keep_checkpoints=1000000000"), tmp_path)  # of which there will never be so many


@pytest.mark.parametrize("preset", [MASKED, FAMILY, "+exp=drqn_cartpole", "+exp=tour_q"])
def test_the_bound_counts_what_is_built(preset):
    run = run_of(preset)
    network = run.network.build(run.spaces)
    assert size_of_network(run) == sum(
        t.numel() * t.element_size() for t in [*network.parameters(), *network.buffers()]
    )
    assert built_parts(run)["the network with its copies, gradients and moments (network)"] == 8 * size_of_network(run)
    intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=torch.device("cpu")))
    there = {t.untyped_storage()._cdata: t for t in tensors_in([intrinsic_model, intrinsic_model.acting(3)], {})}
    held = sum(t.untyped_storage().nbytes() for t in there.values())
    assert held <= size_of_novelty(run, 3) <= 4 * held
    assert (held > 0) == run.intrinsic.rewards


def test_a_row_is_as_large_as_the_bound_says():
    for preset in (MASKED, FAMILY):
        run = run_of(preset)
        assert run.sequence_schema.row_bytes(run.spaces) == run.sequence_schema.template(run.spaces).bytes()
    huge = Spaces(observation_shape=(2**40, 2**40), observation_dtype=torch.float32, n_actions=2)
    assert run.sequence_schema.row_bytes(huge) > 2**80


def test_nothing_is_drawn_for_it():
    run = run_of(FAMILY)
    before = torch.get_rng_state()
    refuse_too_large(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_actors_on_other_machines_take_none_of_this_ones():
    """A cluster at `local` is this machine, one at another address is not."""

    def total(address: str, workers: int) -> int:
        words = ("+exp=agent57_corridor", "collector=ray", f"collector.address={address}")
        return sum(built_parts(read(compose_settings([*words, f"collector.num_workers={workers}"])[0])).values())

    assert total("local", 8) > total("local", 2) > total("auto", 2) == total("auto", 8)


@pytest.mark.parametrize(
    "where",
    [
        "multi_async collector.processes=64",
        pytest.param(
            "ray collector.num_workers=64",
            marks=pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install -e '.[ray]'"),
        ),
    ],
)
@pytest.mark.parametrize("preset", [MASKED, FAMILY, "+exp=r2d2_memory_len"])
def test_64_workers_of_20_steps_are_accepted_with_room_for_the_tails_of_all_episodes(preset, where):
    run = run_of(preset, *f"collector={where}".split(), "collector.num_envs=4", "collector.steps=20")
    refuse_misfits(run)
    few = run_of(preset, "collector.num_envs=4", "collector.steps=20")
    assert run.replay_bytes > few.replay_bytes
    assert run.collector.burst == 64 * 4


@pytest.mark.parametrize(("address", "here"), [("local", 3), ("auto", 1), ("10.0.0.1:6379", 1)])
def test_all_shards_of_a_cluster_on_this_machine_must_fit_its_disk(address, here, tmp_path, monkeypatch):
    words = ("collector=ray", "collector.num_workers=3", "collector.rows=actor", "replay=ray", "replay.shards=3")
    run = run_of("+exp=r2d2_memory_len", *words, f"collector.address={address}")
    assert run.replay_bytes > 0
    asked = []
    monkeypatch.setattr(sizes, "refuse_what_does_not_fit", lambda needed, *_, **__: asked.append(needed))
    refuse_full_disk(run, tmp_path)
    assert asked == [here * run.replay_bytes]
