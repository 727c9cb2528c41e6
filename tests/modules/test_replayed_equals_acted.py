"""The invariant that everything rests on: what the loss recomputes from the replay is what the agent saw.

The parts are wired as in `pipelines.training.build`, the weights are frozen, and every step is written down.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

from modules import keys
from modules.collect import SyncCollection, SyncSpec
from modules.envs.base import EnvContext
from modules.exploration import EpsGreedySpec, ExplorationContext
from modules.keys import Spaces
from modules.learner.normalising import ObservationStatistics
from modules.losses.allowed import FORBIDDEN
from modules.networks.recurrent import LSTM_STATE
from modules.networks.tensordict_modules import Policy
from modules.networks.torsos import ConvSpec
from modules.replay.base import ReplayContext
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.replay.storage import MemmapSpec
from tests.modules.builders import MEMORIES, actor_in, always, gym_spec, loss_context, network_spec, q_settings, sharpen
from tests.modules.envs import views

ENVS, STEPS, LENGTH = 3, 7, 10
BATCHES = 8  # in each of the two sittings


@dataclass
class Diary:
    """Every acted step, found by its observation; `at` is (sitting, environment, episode, step)."""

    at: dict[bytes, tuple[int, int, int, int]] = field(default_factory=dict)
    values: dict[tuple[int, int, int, int], Tensor] = field(default_factory=dict)
    steps: dict[tuple[int, int, int, int], dict[str, Tensor]] = field(default_factory=dict)

    def write(self, sitting, batch, values, running):
        for env in range(ENVS):
            for t in range(STEPS):
                where = (sitting, env, *running[env])
                name = batch[keys.OBSERVATION][env, t].numpy().tobytes()
                assert name not in self.at, "two equal observations: the diary cannot tell steps apart"
                self.at[name] = where
                self.values[where] = values[t][env]
                self.steps[where] = batch[env, t].to_dict()
                ended = bool(batch["next", keys.DONE][env, t])
                running[env] = (running[env][0] + 1, 0) if ended else (running[env][0], running[env][1] + 1)

    def look_up(self, observation):
        return self.at[observation.numpy().tobytes()]


PLAIN = gym_spec("CartPole-v1", keep=(0, 2), max_episode_steps=14)
CONV = ConvSpec(channels=(3,), kernels=((3, 3),), strides=((1, 1),), pool=False, out_features=6, activation="tanh",
                background=0, gain=1.0)  # fmt: skip
MASKED = (f"{views.__name__}:SomeAllowed",)
VIEWS = {  # environments that show, and networks that see, what needs more than a vector
    "normalised": (replace(PLAIN, normalise="running"), {}),
    "masked": (replace(PLAIN, keep=None, wrappers=MASKED, action_mask="observation"), {}),
    "images": (replace(PLAIN, keep=None, wrappers=(f"{views.__name__}:WithPicture",)), {"torso": CONV}),
    "all": (
        replace(
            PLAIN, keep=None, wrappers=(f"{views.__name__}:WithPicture", *MASKED), action_mask="info",
            normalise="running", reward_scale=0.5, reward_clip=0.4,
        ),
        {"torso": CONV},
    ),
}  # fmt: skip


def play(memory, directory, *, overlap, burn_in, previous, env_spec=PLAIN, changed=MappingProxyType({})):
    """Collect two sittings with the real parts; returns diary, stored rows and loss."""
    spaces, spec = env_spec.agent_spaces(), replace(network_spec(memory, previous=previous), **changed)
    network = spec.build(spaces)
    sharpen(network)
    seen = torch.randn(50, *spaces.observation_shape) * 0.2 + 0.1
    ObservationStatistics(network, (), None).observe(seen, 0)
    acting = copy.deepcopy(network).requires_grad_(False)
    exploration = EpsGreedySpec(start=0.5, end=0.5, anneal_frames=1).build(ExplorationContext.all_of(1))
    policy = Policy(acting, exploration.choose)
    values = []
    unroll = acting.unroll

    def written_down(inputs, state):
        outputs, state = unroll(inputs, state)
        values.append(outputs[keys.ACTION_VALUE].reshape(ENVS, -1).clone())
        return outputs, state

    acting.unroll = written_down
    env = env_spec.build(EnvContext(ENVS, spec.transforms()))
    collection = SyncCollection(SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env, policy))
    states = spec.state()
    settings = SequenceSpec(
        capacity=10_000, length=LENGTH, burn_in=burn_in, overlap=overlap, state="stored", batch_rows=4, ratio=1,
        mirror=False,
        cross_mixture=0,
        storage=MemmapSpec(),
    )  # fmt: skip
    schema = settings.schema(states, spec.inputs.reads)
    replay = SequenceReplay(
        settings,
        ReplayContext(
            directory=directory, spaces=spaces, schema=schema, save_every=100, batch_frames=ENVS * STEPS, seed=0
        ),
    )
    diary = Diary()
    for sitting in range(2):
        collection.restart(seed=1000 * sitting)  # environment i takes seed + i
        running = [(0, 0)] * ENVS
        for _ in range(BATCHES):
            values.clear()
            _, batch, _ = next(iter(collection))
            assert len(values) == STEPS
            diary.write(sitting, batch, values, running)
            replay.extend(batch)
        replay.truncate()
    collection.close()
    loss = q_settings().build(loss_context(network, burn_in))
    return diary, stored(replay), loss


def stored(replay):
    """All rows of the replay, by sampling until none is new."""
    rows = torch.cat([replay.sample() for _ in range(40 * len(replay))])
    starts = [row.numpy().tobytes() for row in rows[keys.OBSERVATION][:, replay.settings.burn_in]]
    first = [starts.index(start) for start in dict.fromkeys(starts)]
    assert len(first) == len(replay)
    return rows[first]


@pytest.mark.parametrize("view", VIEWS)
def test_replayed_equals_acted_whatever_is_seen(view, tmp_path):
    env_spec, changed = VIEWS[view]
    diary, rows, loss = play("lstm", tmp_path, overlap=0, burn_in=0, previous=True, env_spec=env_spec, changed=changed)
    with torch.no_grad():
        replayed = loss.unroll(rows, "online")[keys.ACTION_VALUE]
        target = loss.unroll(rows, "target")[keys.ACTION_VALUE]
    torch.testing.assert_close(replayed, target)
    checked = 0
    for row, q in zip(rows.unbind(0), replayed, strict=True):
        for t in range(int(row[keys.MASK].sum())):
            where = diary.look_up(row[keys.OBSERVATION][t])
            torch.testing.assert_close(q[t], diary.values[where], rtol=1e-5, atol=1e-5)
            checked += 1
    assert checked == len(diary.steps)
    actions = torch.stack([step[keys.ACTION] for step in diary.steps.values()])
    values = torch.stack([diary.values[where] for where in diary.steps])
    forbidden = values < FORBIDDEN / 2
    assert bool(forbidden.any()) == bool(env_spec.action_mask != "none")
    assert not forbidden.gather(1, actions.unsqueeze(1)).any()
    assert set(actions.tolist()) == {0, 1}
    rewards = {float(step["next"][keys.REWARD]) for step in diary.steps.values()}
    assert rewards == {env_spec.agent_rewards().change(torch.tensor(1.0)).item()}


@pytest.mark.parametrize("previous", [False, True])
@pytest.mark.parametrize(("overlap", "burn_in"), [(0, 0), (5, 0), (0, 4), (5, 5)])
@pytest.mark.parametrize("memory", MEMORIES)
def test_replayed_equals_acted(memory, overlap, burn_in, previous, tmp_path):
    diary, rows, loss = play(memory, tmp_path, overlap=overlap, burn_in=burn_in, previous=previous)
    with torch.no_grad():
        replayed = loss.unroll(rows, "online")[keys.ACTION_VALUE]
        forgetful = rows.clone()
        for key in loss.states:
            forgetful[key].zero_()
        without_state = loss.unroll(forgetful, "online")[keys.ACTION_VALUE]
    covered, followed, burned = Counter(), 0, 0
    for whole, q in zip(rows.unbind(0), replayed, strict=True):
        if whole[keys.MASK][0] and burn_in:  # the steps in front are those before the first learned one
            burned += 1
            wheres = [diary.look_up(whole[keys.OBSERVATION][t]) for t in range(burn_in + 1)]
            assert wheres == [(*wheres[0][:3], wheres[0][3] + t) for t in range(burn_in + 1)]
        else:
            assert not whole[keys.MASK][:burn_in].any()
            assert not burn_in or diary.look_up(whole[keys.OBSERVATION][burn_in])[3] == 0
        row = {key: value[burn_in:] if value.ndim and len(value) >= LENGTH else value for key, value in whole.items()}
        steps = int(row[keys.MASK].sum())
        assert row[keys.MASK][:steps].all()
        wheres = [diary.look_up(row[keys.OBSERVATION][t]) for t in range(steps)]
        covered.update(wheres)
        # One sitting, one environment, one episode, in order.
        assert wheres == [(*wheres[0][:3], wheres[0][3] + t) for t in range(steps)]
        for t, where in enumerate(wheres):
            step = diary.steps[where]
            torch.testing.assert_close(q[t], diary.values[where], rtol=1e-5, atol=1e-5)
            assert row[keys.ACTION][t] == step[keys.ACTION]
            assert row[keys.REWARD][t] == step["next"][keys.REWARD]
            assert row[keys.TERMINATED][t] == step["next"][keys.TERMINATED]
        final = diary.steps[wheres[-1]]["next"]
        assert torch.equal(row[keys.OBSERVATION][steps], final[keys.OBSERVATION])
        then = (*wheres[-1][:3], wheres[-1][3] + 1)
        if then in diary.values and not final[keys.DONE]:
            torch.testing.assert_close(q[steps], diary.values[then], rtol=1e-5, atol=1e-5)
            followed += 1
    assert covered.keys() == diary.steps.keys()
    assert set(covered.values()) == ({1} if overlap == 0 else {1, 2})
    # The case is a hard one: all kinds of ends are there, and the state makes a difference.
    assert followed > 5
    assert burned > 5 or not burn_in
    ends = [diary.steps[where]["next"] for where in diary.steps]
    assert sum(bool(step[keys.TERMINATED]) for step in ends) >= 3
    assert sum(bool(step[keys.TRUNCATED]) for step in ends) >= 3
    assert {where[0] for where in diary.steps} == {0, 1}
    if loss.states and burn_in < LENGTH - overlap:  # otherwise these short episodes' rows all begin where they begin
        assert (replayed - without_state).abs().max() > (1e-4 if burn_in else 1e-2)


def test_without_a_restart_there_is_no_batch():
    collection = SyncCollection(
        SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(gym_spec("CartPole-v1").build(EnvContext(ENVS)), always(0))
    )
    with pytest.raises(RuntimeError, match=r"restart\(seed\) must come before the first batch"):
        next(iter(collection))
    collection.close()


def test_restart_makes_every_environment_fresh(tmp_path):
    """Same seed, same start; episodes, step counts and recurrent state begin again."""
    spec, env_spec = network_spec("lstm"), gym_spec("CartPole-v1", keep=(0, 2))
    spaces = env_spec.spaces()
    assert spaces == Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=2)
    network = spec.build(spaces)
    policy = Policy(
        network, EpsGreedySpec(start=0.5, end=0.5, anneal_frames=1).build(ExplorationContext.all_of(1)).choose
    )
    collection = SyncCollection(
        SyncSpec(num_envs=ENVS, steps=STEPS), actor_in(env_spec.build(EnvContext(ENVS, spec.transforms())), policy)
    )
    batches = []
    for seed in (1, 1, 2):
        collection.restart(seed)
        torch.manual_seed(0)
        batches.append([next(iter(collection))[1].clone() for _ in range(2)])
    collection.close()
    for first, second in batches:
        assert first.shape == (ENVS, STEPS)
        assert first[keys.IS_INIT][:, 0].all()
        assert not first[keys.STEP_COUNT][:, 0].any()
        assert not any(first[key][:, 0].any() for key in LSTM_STATE)
        assert second[LSTM_STATE[0]][:, 0].any()
        assert torch.equal(second[keys.OBSERVATION][:, 0], first["next", keys.OBSERVATION][:, -1])
    assert all((a == b).all() for a, b in zip(batches[0], batches[1], strict=True))
    assert not torch.equal(batches[0][0][keys.OBSERVATION], batches[2][0][keys.OBSERVATION])
    # Environments of one collection differ from each other.
    assert batches[0][0][keys.OBSERVATION][:, 0].unique(dim=0).shape[0] == ENVS
