"""The episodic memory against a naive one, and at its edges."""

import math

import pytest
import torch

from modules.intrinsic.episodic_memory import EpisodicMemory, EpisodicSpec
from modules.spec import UsageError

CPU = torch.device("cpu")
NORMAL = {
    "kernel_eps": 1e-3,
    "cluster_distance": 0.008,
    "pseudo_counts": 0.001,
    "max_similarity": 8.0,
    "horizon": None,
}


def make(num_envs=1, features=2, **settings) -> EpisodicMemory:
    return EpisodicMemory(EpisodicSpec(**({"capacity": 50, "k": 10} | NORMAL | settings)), num_envs, features, CPU)


def play(memory, states):
    """Rewards of one environment."""
    return [memory.query_and_add(torch.as_tensor(state, dtype=torch.float32)[None]).item() for state in states]


class Naive:
    """Algorithm 1 of NGU for one environment, word by word, with the documented rules for what is missing."""

    def __init__(self, settings: EpisodicSpec) -> None:
        self.s, self.states, self.distances, self.weights = settings, [], [], []

    def query_and_add(self, x: list[float]) -> float:
        s = self.s
        d = sorted(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in self.states)[: s.k]
        self.states = [*self.states, x][-s.capacity :]
        if not d:
            return 0.0
        if s.horizon and sum(self.weights) > s.horizon * s.k:  # what was there counts as so many distances at most
            fade = s.horizon * s.k / sum(self.weights)
            self.weights = [fade * w for w in self.weights]
        self.distances, self.weights = self.distances + d, self.weights + [1.0] * len(d)
        mean = sum(w * one for w, one in zip(self.weights, self.distances, strict=True)) / sum(self.weights)
        d_n = [one / mean if mean else 0.0 for one in d] + [1.0] * (s.k - len(d))
        kernel = [s.kernel_eps / (max(one - s.cluster_distance, 0) + s.kernel_eps) for one in d_n]
        similarity = math.sqrt(sum(kernel)) + s.pseudo_counts
        return 0.0 if similarity > s.max_similarity else 1 / similarity


@pytest.mark.parametrize("capacity", [7, 64])
@pytest.mark.parametrize(
    ("k", "max_similarity", "horizon"), [(4, 8.0, None), (4, 0.9, None), (1, 8.0, None), (4, 8.0, 5), (1, 8.0, 1)]
)
def test_equals_naive_memory_over_episodes_and_wraps(capacity, k, max_similarity, horizon):
    n, features = 5, 3
    memory = make(n, features, capacity=capacity, k=k, max_similarity=max_similarity, horizon=horizon)
    naive = [Naive(memory.settings) for _ in range(n)]
    rewards, expected = [], []
    for t in range(3 * capacity):
        x = torch.randint(0, 6, (n, features)) * 0.7  # some states return
        active = torch.rand(n) < 0.9
        rewards.append(memory.query_and_add(x.float(), active))
        expected.append([m.query_and_add(v) if a else 0.0 for m, v, a in zip(naive, x.tolist(), active, strict=True)])
        over = torch.rand(n) < 0.3 / capacity
        over[0] = t == capacity // 2  # the first one's second episode wraps
        memory.reset(over)
        for i in over.nonzero().flatten().tolist():
            naive[i].states = []
    assert memory._written[0] >= capacity
    got, want = torch.stack(rewards), torch.tensor(expected)
    assert torch.allclose(got, want, rtol=1e-4, atol=0)
    assert (got == 0).float().mean() < 0.9


def test_ten_repetitions_give_the_floor():
    rewards = play(make(), [[3.0, 1.0]] + [[0.0, 0.0]] * 12)
    assert rewards[11:] == pytest.approx([1 / (math.sqrt(10) + 0.001)] * 2)


def test_visits_are_counted_from_the_first_steps_on():
    """Second and third visit: 1/√1 and 1/√2, as far as the others are no neighbours."""
    cloud = (100 * torch.randn(12, 2)).tolist()
    rewards = play(make(), [*cloud, *cloud[:1] * 3])[-3:]
    assert rewards == pytest.approx([1.0, 1 / math.sqrt(2), 1 / math.sqrt(3)], rel=0.02)
    memory = make()
    play(memory, cloud)
    memory.reset(torch.tensor([True]))
    assert play(memory, cloud[:1] * 3) == pytest.approx([0.0, 1.0, 1 / math.sqrt(2)], rel=0.02)


def test_current_state_is_no_neighbour_of_itself_after_the_wrap():
    states = torch.arange(200.0)[:, None].expand(-1, 2) ** 1.5
    rewards = play(make(capacity=20), states)
    assert min(rewards[40:]) > 5  # with itself in the memory it would be below 1


def test_first_rewards_of_an_episode_are_those_of_ordinary_states():
    memory = make(features=8)
    long = play(memory, torch.randn(50, 8))
    memory.reset(torch.tensor([True]))
    short = play(memory, torch.randn(50, 8))
    ordinary = 1 / (math.sqrt(10 * 1e-3 / (1 - 0.008 + 1e-3)) + 0.001)
    for rewards in (long, short):
        assert rewards[0] == 0
        assert rewards[1] == pytest.approx(ordinary, rel=0.1)
        assert max(rewards) < 1.5 * ordinary


@pytest.mark.parametrize("scale", [1e3, 1e-3])
def test_scale_of_the_embedding_does_not_matter(scale):
    states = torch.randn(40, 4)
    states[30:] = states[:10]
    plain, scaled = (play(make(features=4), states * by) for by in (1, scale))
    assert scaled == pytest.approx(plain, rel=1e-4)


def test_distances_are_exact_far_from_the_origin():
    """Large embeddings with small differences: a product of matrices would see only noise."""
    states = torch.randint(0, 8, (40, 2)) * 0.125
    assert play(make(), states + 4096) == pytest.approx(play(make(), states), rel=1e-4)


def test_equal_states_give_finite_rewards():
    rewards = play(make(), [[0.5, 0.5]] * 30)
    assert rewards[0] == 0
    assert all(0.316 < r < 10 for r in rewards[1:])
    assert rewards[10:] == pytest.approx([1 / (math.sqrt(10) + 0.001)] * 20)


def test_nothing_is_left_of_a_longer_episode():
    states = torch.randn(200, 2, 3)
    used, fresh = make(2, 3, capacity=200), make(2, 3, capacity=200)
    for x in states[:80]:
        used.query_and_add(x)
    fresh.load_state_dict(used.state_dict())
    used.reset(torch.tensor([True, True]))
    assert all(torch.equal(used.query_and_add(x), fresh.query_and_add(x)) for x in states[60:180])


def test_one_of_two_memories_is_emptied():
    both, alone = make(2, 3), make(1, 3)
    states = torch.randn(40, 2, 3)
    for x in states[:20]:
        both.query_and_add(x)
    alone.load_state_dict({name: value[:1] for name, value in both.state_dict().items()})
    both.reset(torch.tensor([True, False]))
    assert all(torch.equal(both.query_and_add(x)[:1], alone.query_and_add(x[:1])) for x in states[20:])


def test_running_mean_survives_the_episode():
    kept, fresh = make(), make()
    play(kept, [[0.0, 0.0], [1000.0, 0.0]])
    kept.reset(torch.tensor([True]))
    states = [[0.0, 0.0], [1.0, 0.0]]
    assert play(kept, states)[1] < 2 < play(fresh, states)[1]  # 1 is near, measured by 1000


def test_a_mean_with_a_horizon_by_hand():
    """One neighbour each: the mean so far counts as two distances at most, so the newest has a third of the weight."""
    memory = make(k=1, horizon=2)
    means = []
    for state in ([0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 4.0], [2.0, 4.0]):  # distances: none, 4, 1, 9, 0
        play(memory, [state])
        means.append(memory.state_dict()["mean"].item())
    assert means == pytest.approx([0, 4, 5 / 2, (2 * 5 / 2 + 9) / 3, 2 / 3 * 14 / 3])


def test_states_that_drifted_apart_are_ordinary_again_after_the_horizon_only():
    """An embedding whose distances grow makes every state look new, unless the mean forgets."""
    states = torch.randn(600, 4)
    states[300:] *= 10
    for horizon in (20, None):
        drifted, alone = (sum(play(make(features=4, horizon=horizon), part)[-50:]) for part in (states, states[300:]))
        assert (drifted / alone == pytest.approx(1, abs=1e-3)) if horizon else (drifted > 1.3 * alone)


@pytest.mark.parametrize("horizon", [None, 4])
def test_resuming_continues_exactly_with_the_next_episodes(horizon):
    """A save ends the running episodes; only the mean distances continue."""
    states = torch.randn(60, 3, 2)
    first, second = (make(3, capacity=20, horizon=horizon) for _ in range(2))
    for x in states[:25]:
        first.query_and_add(x)
    second.load_state_dict(first.state_dict())
    first.reset(torch.ones(3, dtype=torch.bool))
    assert all(torch.equal(first.query_and_add(x), second.query_and_add(x)) for x in states[25:])
    fresh = make(3, capacity=20)
    fresh.query_and_add(states[0])
    assert not torch.equal(first.state_dict()["mean"], fresh.state_dict()["mean"])


def test_a_state_is_a_copy():
    memory = make()
    play(memory, [[0.0, 0.0], [1.0, 0.0]])
    state = memory.state_dict()
    play(memory, [[5.0, 5.0]])
    assert [state["mean"].item(), state["seen"].item()] == [1.0, 1]


def test_what_cannot_work_is_refused():
    with pytest.raises(UsageError, match="k=10 neighbours do not fit"):
        make(capacity=9)
    with pytest.raises(UsageError, match=r"those of 2 environments, but the settings say 1"):
        make().load_state_dict(make(2).state_dict())
    memory = make()
    play(memory, [[0.0, 1.0]])
    with pytest.raises(ArithmeticError, match="not finite"):
        play(memory, [[math.nan, 1.0]])
    assert memory._written.tolist() == [1]
