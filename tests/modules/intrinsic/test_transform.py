"""Novelty while acting: whose action is rewarded, and what is forgotten when."""

import copy

import pytest
import torch

from modules import keys
from modules.collect import SyncCollection, SyncSpec
from modules.envs.base import EnvContext
from modules.intrinsic import IntrinsicContext, IntrinsicRewardTransform
from modules.intrinsic.embedding import InverseDynamicsSpec, RandomEmbeddingSpec
from modules.intrinsic.episodic_memory import EpisodicMemory, EpisodicSpec
from modules.intrinsic.ngu import EpisodicNoveltySpec, NguSpec, RndSpec
from modules.intrinsic.parts import AuxiliaryOptimizerSpec
from modules.intrinsic.rnd import DistillationSpec
from modules.keys import Spaces
from modules.networks.torsos import MlpSpec
from tests.modules.builders import actor_in, always, gym_spec

ENVS, STEPS, BATCHES = 4, 7, 5
CPU = torch.device("cpu")
SPACES = Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=2)
TORSO = MlpSpec(out_features=6, hidden=(), activation="tanh", norm="none", bias=True, init="default")
MEMORY = EpisodicSpec(
    capacity=50, k=3, kernel_eps=1e-2, cluster_distance=0.008, pseudo_counts=1e-3, max_similarity=8.0, horizon=None
)
LIFELONG = DistillationSpec(
    torso=TORSO,
    features=4,
    max_alpha=5.0,
    error_horizon=0,
    last_frames=5,
    descent=AuxiliaryOptimizerSpec(lr=1e-3, eps=1e-8, betas=(0.9, 0.999), weight_decay=0.0, max_grad_norm=40.0),
)
EMBEDDING = RandomEmbeddingSpec(torso=TORSO, features=4)
SPECS = {
    "episodic": EpisodicNoveltySpec(scale=0.5, embedding=EMBEDDING, memory=MEMORY),
    "ngu": NguSpec(scale=0.5, embedding=EMBEDDING, memory=MEMORY, lifelong=LIFELONG),
    "rnd": RndSpec(scale=0.5, lifelong=LIFELONG),
}


def play(intrinsic_reward, after_each=lambda: None):
    """Collect with environments whose episodes take 1 and 10 steps, so resets are partial; [N, S] steps."""
    env = gym_spec("tests.modules.builders:Parity-v0").build(
        EnvContext(ENVS, [IntrinsicRewardTransform(intrinsic_reward)])
    )
    collection = SyncCollection(SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env, always(0)))
    collection.restart(0)
    batches = []
    for _, (_, batch, _) in zip(range(BATCHES), collection, strict=False):
        batches.append(batch.clone())
        after_each()
    collection.close()
    return torch.cat(batches, 1)


def test_the_action_that_led_to_a_state_is_rewarded_and_each_episode_starts_afresh():
    """Against a memory per environment that is fed by hand, whole episodes at a time."""
    torch.manual_seed(0)
    intrinsic_model = SPECS["episodic"].build(IntrinsicContext(spaces=SPACES, device=CPU))
    batch = play(intrinsic_model.acting(ENVS))
    expected = torch.zeros(ENVS, STEPS * BATCHES, 1)
    for env in range(ENVS):
        memory = EpisodicMemory(MEMORY, 1, 4, CPU)
        for t in range(batch.shape[1]):
            step = batch[env, t]
            if step[keys.IS_INIT]:
                memory.reset(torch.tensor([True]))
                memory.query_and_add(intrinsic_model.embedding.network(step[keys.OBSERVATION][None]))
            arrived = intrinsic_model.embedding.network(step["next", keys.OBSERVATION][None])
            expected[env, t] = 0.5 * memory.query_and_add(arrived)
    torch.testing.assert_close(batch["next", keys.INTRINSIC], expected, rtol=1e-4, atol=1e-6)
    assert batch["next", keys.DONE].sum(1).squeeze(-1).tolist() in ([35, 3, 35, 3], [3, 35, 3, 35])
    assert (expected > 0).all()


def test_an_environment_renews_its_embedding_when_its_own_episode_starts():
    """Weights that change with each batch, against one memory and one copy of them per environment."""
    torch.manual_seed(0)
    embedding = InverseDynamicsSpec(torso=TORSO, features=4, hidden=5, last_frames=5, descent=LIFELONG.descent)
    intrinsic_model = EpisodicNoveltySpec(scale=0.5, embedding=embedding, memory=MEMORY).build(
        IntrinsicContext(spaces=SPACES, device=CPU)
    )
    newest, versions = intrinsic_model.embedding.network, []

    def learn():
        versions.append(copy.deepcopy(newest))
        with torch.no_grad():
            for p in newest.parameters():
                p.add_(torch.randn(p.shape))

    batch = play(intrinsic_model.acting(ENVS), after_each=learn)
    expected = torch.zeros(ENVS, STEPS * BATCHES, 1)
    for env in range(ENVS):
        memory, mine = EpisodicMemory(MEMORY, 1, 4, CPU), versions[0]
        for t in range(batch.shape[1]):
            step = batch[env, t]
            if step[keys.IS_INIT]:
                mine = versions[max(0, t - 1) // STEPS]  # an environment is reset right after its last step
                memory.reset(torch.tensor([True]))
                memory.query_and_add(mine(step[keys.OBSERVATION][None]))
            expected[env, t] = 0.5 * memory.query_and_add(mine(step["next", keys.OBSERVATION][None]))
    torch.testing.assert_close(batch["next", keys.INTRINSIC], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_sums_start_with_the_episode_and_means_are_those_of_the_steps(name):
    intrinsic_reward = SPECS[name].build(IntrinsicContext(spaces=SPACES, device=CPU)).acting(ENVS)
    intrinsic_reward.measures()
    batch = play(intrinsic_reward)
    reward = batch["next", keys.INTRINSIC]
    running = torch.zeros(ENVS, 1, dtype=torch.float64)
    for t in range(batch.shape[1]):
        running = torch.where(batch[keys.IS_INIT][:, t], 0, running) + reward[:, t]
        torch.testing.assert_close(batch["next", keys.INTRINSIC_RETURN][:, t], running)
    measures = intrinsic_reward.measures()
    assert measures["intrinsic/reward_mean"] == pytest.approx(reward.mean().item(), rel=1e-5)
    parts = {"episodic": {"episodic"}, "ngu": {"episodic", "alpha"}, "rnd": set()}[name]
    assert measures.keys() == {f"intrinsic/{part}_mean" for part in {"reward", *parts}}
    assert intrinsic_reward.measures() == {}


def test_both_parts_multiply():
    intrinsic_reward = SPECS["ngu"].build(IntrinsicContext(spaces=SPACES, device=CPU)).acting(1)
    for step in range(20):
        observation = torch.randn(1, 2) * (1 + step)
        reward = intrinsic_reward.reward(observation)
        parts = intrinsic_reward.measures()
        product = 0.5 * parts["intrinsic/episodic_mean"] * parts["intrinsic/alpha_mean"]
        assert reward.item() == pytest.approx(product, rel=1e-5)
    assert parts["intrinsic/alpha_mean"] > 1


def test_a_copy_takes_over_the_mean_distances_and_leaves_the_original_alone():
    intrinsic_model = SPECS["ngu"].build(IntrinsicContext(spaces=SPACES, device=CPU))
    mine, other = intrinsic_model.acting(2), intrinsic_model.acting(3)
    for _ in range(6):
        mine.reward(torch.randn(2, 2))
    before = mine.state_dict()
    assert (before["mean"] > 0).all()
    other.reward(torch.randn(3, 2))
    other.adopt(mine)
    assert torch.equal(other.state_dict()["mean"], before["mean"][torch.tensor([0, 1, 0])])
    assert torch.equal(other.state_dict()["seen"], before["seen"][torch.tensor([0, 1, 0])])
    assert other._memory._written.tolist() == [0, 0, 0]
    other.reward(torch.randn(3, 2))
    other.reward(torch.randn(3, 2))
    assert all(torch.equal(mine.state_dict()[key], value) for key, value in before.items())


def test_the_error_alone_is_measured_in_its_own_deviations():
    lifelong = SPECS["rnd"].build(IntrinsicContext(spaces=SPACES, device=CPU)).lifelong
    assert lifelong.intrinsic_reward(torch.ones(3, 2)).tolist() == [0, 0, 0]  # all errors are equal
    observation = torch.randn(50, 2)
    found = lifelong.intrinsic_reward(observation)
    error = lifelong.error(observation).detach()
    assert lifelong.errors.count == 53
    torch.testing.assert_close(found.double(), error.double() / float(lifelong.errors.std))
