"""Arms while acting: one per episode and environment, and controllers that hear of exactly the episodes that ended."""

from collections import defaultdict

import pytest
import torch

from modules import keys
from modules.collect import SyncCollection, SyncSpec
from modules.envs.base import EnvContext
from modules.meta_controller import ArmPerEpisode, FixedArm
from modules.meta_controller.uniform import ArmPerActor
from tests.modules.builders import actor_in, always, gym_spec

ENVS, STEPS = 4, 7


class Diary(FixedArm):
    """Gives every episode an arm of its own, and writes down what it is told."""

    def __init__(self):
        super().__init__()
        self.chosen, self.told, self.next = [], [], 0

    def choose(self, which):
        arms = torch.arange(self.next, self.next + len(which))
        self.next += len(which)
        self.chosen += zip(which.tolist(), arms.tolist(), strict=True)
        return arms

    def update(self, which, arms, returns):
        assert len(which) == len(which.unique())
        self.told += zip(which.tolist(), arms.tolist(), returns.tolist(), strict=True)


@pytest.fixture
def played():
    """Batches from environments whose episodes take 1 and 10 steps, and the diary from the restart on."""
    diary = Diary()
    env = gym_spec("tests.modules.builders:Parity-v0").build(EnvContext(ENVS, [ArmPerEpisode(diary, 1000)]))
    collection = SyncCollection(SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env, always(0)))
    diary.chosen.clear()
    collection.restart(0)
    batches = [batch.clone() for _, (_, batch, _) in zip(range(5), collection, strict=False)]
    collection.close()
    return diary, torch.cat(batches, 1)


def test_an_arm_is_drawn_for_each_episode_and_stays_with_it(played):
    diary, batch = played
    arms_of = defaultdict(list)
    for env in range(ENVS):
        episode = []
        for t in range(batch.shape[1]):
            step = batch[env, t]
            assert bool(step[keys.IS_INIT]) == (not episode)
            episode.append(int(step[keys.ARM]))
            assert int(step["next", keys.ARM]) == episode[0]
            if step["next", keys.DONE] or t == batch.shape[1] - 1:
                assert len(set(episode)) == 1
                arms_of[env].append(episode[0])
                episode = []
    drawn = defaultdict(list)
    for env, arm in diary.chosen:
        drawn[env].append(arm)
    for env in range(ENVS):  # the last may have been drawn for an episode without any step yet
        assert drawn[env][: len(arms_of[env])] == arms_of[env]
        assert len(drawn[env]) - len(arms_of[env]) in (0, 1)
    assert {len(arms) for arms in arms_of.values()} == {4, 35}  # both kinds of environments, so resets were partial


def test_controllers_are_told_the_episodes_that_ended_and_no_others(played):
    diary, batch = played
    ended = []
    for t in range(batch.shape[1]):
        for env in range(ENVS):
            step = batch[env, t]
            if step["next", keys.DONE]:
                ended.append((env, int(step[keys.ARM]), float(step["next", keys.EPISODE_RETURN])))
    assert diary.told == ended
    assert {value for _, _, value in ended} == {1.0, 10.0}


def test_an_arm_for_life_acts_in_every_episode_of_its_environment_and_after_restarts():
    meta = ArmPerActor(n=3, numbers=range(ENVS), total=ENVS)
    env = gym_spec("tests.modules.builders:Parity-v0").build(EnvContext(ENVS, [ArmPerEpisode(meta, 3)]))
    collection = SyncCollection(SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env, always(0)))
    for restart in range(2):
        collection.restart(restart)
        for _, (_, batch, _) in zip(range(2), collection, strict=False):
            for step in (batch, batch["next"]):
                assert step[keys.ARM].tolist() == [[arm] * STEPS for arm in (0, 1, 2, 0)]
    collection.close()
