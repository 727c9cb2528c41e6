"""What stands in front of an episode's first step, and behind each other one."""

import torch
from tensordict import TensorDict

from modules import keys
from modules.envs.base import EnvContext
from modules.keys import Spaces
from modules.networks.inputs import Joined
from modules.networks.transforms import PreviousStep
from tests.modules.builders import gym_spec


def test_an_episode_starts_with_no_action_and_no_reward_whatever_the_others_do():
    env = gym_spec("CartPole-v1", max_episode_steps=50).build(EnvContext(3, [PreviousStep()]))
    env.set_seed(0)
    seen = env.reset()
    before = TensorDict({keys.ACTION: torch.full((3,), -1), keys.REWARD: torch.zeros(3)}, [3])
    resets = 0
    for t in range(120):
        assert torch.equal(seen[keys.PREVIOUS_ACTION], before[keys.ACTION])
        assert torch.equal(seen[keys.PREVIOUS_REWARD], before[keys.REWARD])
        seen[keys.ACTION] = torch.tensor([1, t % 2, t // 2 % 2])  # the first falls soon
        step, seen = env.step_and_maybe_reset(seen)
        done = step["next", keys.DONE].squeeze(-1)
        resets += int(done.any() and not done.all())
        before[keys.ACTION] = torch.where(done, -1, step[keys.ACTION])
        before[keys.REWARD] = torch.where(done, 0, step["next", keys.REWARD].squeeze(-1))
    assert resets > 5
    env.close()


def test_the_first_step_joins_zeros_and_later_ones_the_action():
    join = Joined((keys.PREVIOUS_ACTION, keys.PREVIOUS_REWARD), Spaces((1,), torch.float32, 2))
    joined = join(torch.tensor([[7.0], [8.0]]), torch.tensor([-1, 1]), torch.tensor([0.0, 0.5]))
    assert joined.tolist() == [[7, 0, 0, 0], [8, 0, 1, 0.5]]
