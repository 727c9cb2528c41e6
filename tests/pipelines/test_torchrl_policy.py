"""A saved policy in anybody's TorchRL code: rollouts, a collector, and rows in recurrent mode give the same actions."""

import pytest
import torch
from torchrl.collectors import Collector
from torchrl.envs import Compose, GymEnv, ObservationTransform, TransformedEnv
from torchrl.modules import set_recurrent_mode

from modules import keys
from modules.envs.base import EnvContext
from pipelines.api import load
from tests.pipelines.saved_runs import saved_kind, saved_run, varied

MASKED = "+exp=drqn_cartpole_masked"
MEMORIES = ["lstm", "gru", "mingru", "lru"]


def policy_of(tmp_path, memory, seed):
    saved_run(tmp_path, MASKED, f"network/memory={memory}", "network.memory.hidden_size=16", seed=seed)
    return load(tmp_path)


def rollout_of(tmp_path, memory):
    """A policy with drawn weights that takes both actions, and what it did."""
    for seed in range(30):
        trained = policy_of(tmp_path / str(seed), memory, seed)
        with torch.no_grad():
            rollout = env_for(trained, 3).rollout(100, trained.policy)
        if varied(rollout[keys.ACTION].tolist()):
            return trained, rollout
    raise AssertionError("no weights take both actions")


def env_for(trained, seed):
    """TorchRL's own environment; of CartPole's state the positions are seen, as in training."""
    env = GymEnv("CartPole-v1", categorical_action_encoding=True, device="cpu")
    env = TransformedEnv(env, Compose(Positions(), *trained.transforms()))
    env.set_seed(seed)
    return env


class Positions(ObservationTransform):
    def __init__(self):
        super().__init__(in_keys=[keys.OBSERVATION], out_keys=[keys.OBSERVATION])

    def _apply_transform(self, obs):
        return obs[..., [0, 2]]

    def _reset(self, tensordict, tensordict_reset):
        return self._call(tensordict_reset)

    def transform_observation_spec(self, observation_spec):
        spec = observation_spec[keys.OBSERVATION]
        observation_spec[keys.OBSERVATION] = spec[..., :2].clone()
        return observation_spec


@pytest.mark.parametrize("memory", MEMORIES)
def test_it_acts_as_ours_in_a_rollout_a_collector_and_on_rows(memory, tmp_path):
    trained, rollout = rollout_of(tmp_path, memory)
    trained.reset()
    whole = torch.zeros(len(rollout), 4)  # of which the network sees the positions only
    whole[:, [0, 2]] = rollout[keys.OBSERVATION]
    expected = [trained(observation.numpy()) for observation in whole]
    assert rollout[keys.ACTION].tolist() == expected

    with torch.no_grad(), set_recurrent_mode("recurrent"):
        rows = trained.policy(rollout.exclude(keys.ACTION, "action_value").unsqueeze(0))
    assert rows[keys.ACTION][0].tolist() == expected
    torch.testing.assert_close(rows["action_value"][0], rollout["action_value"], rtol=1e-4, atol=1e-4)

    collector = Collector(env_for(trained, 3), trained.policy, frames_per_batch=60, total_frames=60)
    batch = next(iter(collector))
    collector.shutdown()
    n = min(60, len(expected))
    assert batch[keys.ACTION][:n].tolist() == expected[:n]


def test_a_family_acts_in_its_environment(tmp_path):
    """Two networks, arm, intrinsic reward and previous step: all that they read comes with the transforms."""
    run = saved_kind(tmp_path, "family")
    trained = load(tmp_path)
    bare = run.env.build(EnvContext(2)).base_env
    env = TransformedEnv(bare, Compose(*trained.transforms(2)))
    env.set_seed(0)
    with torch.no_grad():
        rollout = env.rollout(30, trained.policy, break_when_any_done=False)
    trained.reset()
    first = rollout[keys.IS_INIT].squeeze(-1)
    reward = torch.cat((torch.zeros(2, 1), rollout["next", keys.REWARD].squeeze(-1)[:, :-1]), 1)
    for t in range(30):
        actions = trained(
            rollout[keys.OBSERVATION][:, t].numpy(), reward=reward[:, t].numpy(), first=first[:, t].numpy()
        )
        assert actions.tolist() == rollout[keys.ACTION][:, t].tolist()
