"""The same invariant for a family of two streams: values, novelty, arms and behaviour replay as they were acted."""

import copy

import pytest
import torch

from modules import keys
from modules.collect import SyncCollection, SyncSpec
from modules.envs.base import EnvContext
from modules.exploration import EpsLadderSpec, ExplorationContext
from modules.intrinsic import IntrinsicRewardTransform
from modules.intrinsic.base import NoIntrinsicReward
from modules.keys import Spaces
from modules.losses.retrace import RetraceSpec
from modules.meta_controller import ArmPerEpisode, MetaContext, UniformSpec
from modules.meta_controller.arms import ArmsSpec
from modules.networks.tensordict_modules import Policy
from modules.replay.base import ReplayContext
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.replay.storage import MemmapSpec
from tests.modules.builders import actor_in, gym_spec, network_spec, sharpen
from tests.modules.losses.family import context_of

ENVS, STEPS, BATCHES, LENGTH, BURN_IN = 3, 7, 10, 10, 4
BETAS = (0.0, 0.5, 2.0)
EXTRA = (keys.INTRINSIC, keys.BEHAVIOUR)


class Loud(NoIntrinsicReward):
    """Rewards by what is seen, so that each step's novelty is its own."""

    def reward(self, observation):
        return 3 * observation.abs().sum(-1)


def play(memory, directory, cross_mixture=0.0, combine="sum"):
    """Collect with the real parts and frozen weights; returns what was acted, the replay's rows and the loss."""
    env_spec = gym_spec("CartPole-v1", keep=(0, 2), max_episode_steps=14)
    spaces = Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=2, betas=BETAS, rescale_eps=0.05)
    spec = network_spec(memory, family=True, streams="two", combine=combine)
    network = spec.build(spaces)
    sharpen(network)
    acting = copy.deepcopy(network).requires_grad_(False)
    exploration = EpsLadderSpec(base=0.5, alpha=1.0, anneal_frames=0).build(ExplorationContext.all_of(ENVS))
    seen = []

    def choose(values):
        seen.append(values.clone())
        return exploration.choose(values)

    arms = ArmsSpec(n=3, beta=2.0, ladder="ngu", gamma_max=0.99, gamma_mid=0.9, gamma_min=0.9)
    meta = UniformSpec(arms=arms).build(MetaContext.all_of(ENVS, seed=0))
    agent_env = [ArmPerEpisode(meta, 3), IntrinsicRewardTransform(Loud()), *spec.transforms()]
    policy = Policy(acting, choose, exploration.probability)
    collection = SyncCollection(
        SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env_spec.build(EnvContext(ENVS, agent_env)), policy)
    )
    settings = SequenceSpec(
        capacity=10_000,
        length=LENGTH,
        burn_in=BURN_IN,
        overlap=5,
        state="stored",
        batch_rows=4,
        ratio=1,
        mirror=False,
        cross_mixture=cross_mixture,
        storage=MemmapSpec(),
    )
    schema = settings.schema(spec.state(), spec.reads, EXTRA)
    replay = SequenceReplay(
        settings,
        ReplayContext(
            directory=directory, spaces=spaces, schema=schema, save_every=100, batch_frames=ENVS * STEPS, seed=0
        ),
    )
    acted = {}
    collection.restart(0)
    for _ in range(BATCHES):
        seen.clear()
        _, batch, _ = next(iter(collection))
        values = torch.stack(seen, 1)
        for env in range(ENVS):
            for t in range(STEPS):
                step = {"env": env, "values": values[env, t], **batch[env, t].to_dict()}
                assert acted.setdefault(step[keys.OBSERVATION].numpy().tobytes(), step) is step
        replay.extend(batch)
    replay.truncate()
    collection.close()
    loss = RetraceSpec(gamma=0.9, lam=0.9, target_epsilon=0.0, huber_delta=0.0, rescale_eps=0.0)
    return acted, torch.cat([replay.sample() for _ in range(200)]), loss.build(context_of(network, BURN_IN))


@pytest.mark.parametrize(("memory", "combine"), [("lstm", "sum"), ("gru", "sum"), ("none", "sum"), ("gru", "rescaled")])
def test_a_family_is_replayed_as_it_acted(memory, combine, tmp_path):
    torch.manual_seed(0)
    acted, rows, loss = play(memory, tmp_path, combine=combine)
    rungs = [0.5 ** (1 + i / 2) for i in range(ENVS)]
    found, arms, odd = set(), set(), 0
    with torch.no_grad():
        values = loss.unroll(rows, "online")[keys.ACTION_VALUE]
    for row, q in zip(rows.unbind(0), values, strict=True):
        for t in range(BURN_IN, BURN_IN + LENGTH):
            if not row[keys.MASK][t]:
                continue
            name = row[keys.OBSERVATION][t].numpy().tobytes()
            step = acted[name]
            found.add(name)
            torch.testing.assert_close(q[t - BURN_IN], step["values"], rtol=1e-5, atol=1e-5)
            assert row[keys.ARM][t] == step[keys.ARM]
            arms.add(int(step[keys.ARM]))
            for key in (keys.PREVIOUS_ACTION, keys.PREVIOUS_REWARD, keys.PREVIOUS_INTRINSIC):
                assert row[key][t] == step[key]
            after = step["next"]
            assert row[keys.INTRINSIC][t] == after[keys.INTRINSIC] == 3 * after[keys.OBSERVATION].abs().sum()
            assert after[keys.PREVIOUS_INTRINSIC] == after[keys.INTRINSIC]
            epsilon = rungs[step["env"]]
            greedy = int(step[keys.ACTION]) == int(step["values"].argmax())
            odd += not greedy
            assert float(row[keys.BEHAVIOUR][t]) == pytest.approx(epsilon / 2 + (1 - epsilon) * greedy)
    assert found == acted.keys()
    assert arms == {0, 1, 2}
    assert odd > 10


def test_a_mixed_row_is_learned_by_another_arm_in_all_of_its_steps(tmp_path):
    acted, rows, loss = play("none", tmp_path, cross_mixture=0.6)
    changes = []
    for row in rows.unbind(0):
        first = int(row[keys.MASK].long().argmax())
        own = int(acted[row[keys.OBSERVATION][first].numpy().tobytes()][keys.ARM])
        assert len(row[keys.ARM].unique()) == 1
        changes.append((int(row[keys.ARM][0]) - own) % 3)
    share = [changes.count(k) / len(changes) for k in range(3)]
    assert share == pytest.approx([0.4, 0.3, 0.3], abs=0.08)  # 800 rows
    assert torch.equal(loss.arms(rows)[1].squeeze(1), loss.gamma[rows[keys.ARM][:, 0]])  # its discount with it
