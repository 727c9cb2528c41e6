import math
from collections import Counter, deque

import pytest
import torch
from torch import tensor

from modules.meta_controller import ArmsSpec, BanditSpec, EvaluationBanditSpec, MetaContext, UniformSpec

ALL = torch.arange(3)


def spec(n=4, window=7, ucb_beta=1.0, epsilon=0.0, normalise="none", evaluator=(7, 0.0, 1)):
    arms = ArmsSpec(n=n, beta=0.3, ladder="ngu", gamma_max=0.997, gamma_mid=0.997, gamma_min=0.99)
    tau, eps, episodes = evaluator
    return BanditSpec(
        window=window,
        ucb_beta=ucb_beta,
        epsilon=epsilon,
        normalise=normalise,
        evaluator=EvaluationBanditSpec(window=tau, epsilon=eps, episodes=episodes),
        arms=arms,
    )


def bandit(controllers=1, seed=0, **settings):
    return spec(**settings).build(MetaContext.all_of(controllers, seed=seed))


def play(controller, *episodes):
    """Let the only controller try its arms once, unrecorded, then have these episodes: (arm, return)."""
    for _ in range(controller.counts().shape[1]):
        controller.choose(tensor([0]))
    for arm, value in episodes:
        controller.update(tensor([0]), tensor([arm]), tensor([float(value)]))
    return controller


def next_arm(controller):
    return controller.choose(tensor([0])).item()


class Naive:
    """One controller, as the paper describes it, on a list of (arm, return)."""

    def __init__(self, n, window, beta, normalise, first):
        self.n, self.beta, self.normalise, self.first = n, beta, normalise, first
        self.episodes, self.k = deque(maxlen=window), 0

    def returns(self, arm):
        return [value for a, value in self.episodes if a == arm]

    def bound(self, arm):
        if not (mine := self.returns(arm)):
            return math.inf
        mean = sum(mine) / len(mine)
        if self.normalise == "window":
            everything = [value for _, value in self.episodes]
            low, high = min(everything), max(everything)
            mean = (mean - low) / (high - low) if high > low else 0.5
        return mean + self.beta * math.sqrt(1 / len(mine))

    def choose(self):
        self.k += 1
        if self.k <= self.n:
            return (self.first + self.k - 1) % self.n
        bounds = [self.bound(arm) for arm in range(self.n)]
        return bounds.index(max(bounds))


@pytest.mark.parametrize("controllers", [3, 64])
@pytest.mark.parametrize("normalise", ["none", "window"])
def test_each_controller_plays_as_a_plain_list_of_its_last_episodes_does(controllers, normalise):
    """Whole returns, so that sums are exact in any order; controllers are asked and told in random company."""
    n, window = 4, 7
    mine = bandit(controllers, n=n, window=window, normalise=normalise)
    naive = [Naive(n, window, 1.0, normalise, first) for first in range(controllers)]
    g = torch.Generator().manual_seed(1)
    seen = torch.zeros(controllers, dtype=torch.int64)
    for _ in range(150):
        which = torch.randperm(controllers, generator=g)[: torch.randint(1, controllers + 1, (), generator=g)]
        arms = mine.choose(which)
        assert arms.tolist() == [naive[e].choose() for e in which]
        returns = torch.randint(-1, 2, (len(which),), generator=g)
        if torch.rand((), generator=g) < 0.1:
            arms = torch.randint(n, (len(which),), generator=g)  # a memory that choices alone would not bring about
        mine.update(which, arms, returns)
        for e, arm, value in zip(which.tolist(), arms.tolist(), returns.tolist(), strict=True):
            naive[e].episodes.append((arm, value))
        seen[which] += 1
        expected = [[naive[e].returns(arm) for arm in range(n)] for e in range(controllers)]
        counts = [[len(values) for values in row] for row in expected]
        assert mine.counts().tolist() == counts
        assert mine.counts().sum(1).tolist() == seen.clamp(max=window).tolist()
        of_arms = [[value for row in expected for value in row[arm]] for arm in range(n)]
        means = [sum(values) / len(values) if values else -math.inf for values in of_arms]
        assert mine.greedy() == means.index(max(means))
    assert seen.min() > 5 * window


def test_every_controller_first_tries_each_arm_once_beginning_with_its_own():
    mine = bandit(3, epsilon=1.0)
    for k in range(4):
        arms = mine.choose(ALL)
        assert arms.dtype == torch.int64
        assert arms.tolist() == [k, (k + 1) % 4, (k + 2) % 4]
        mine.update(ALL, arms, torch.zeros(3))
    late = bandit(3, epsilon=1.0)
    assert [late.choose(tensor(which)).tolist() for which in ([0], [2, 0], [0, 1, 2])] == [[0], [2, 1], [2, 1, 3]]


def test_the_bonus_has_no_logarithm():
    """1 + √(1/9) = 1.333 beats 0.3 + √(1/1) = 1.3; with ln 10 inside the roots, it would lose, 1.506 to 1.817."""
    episodes = [(0, 1)] * 9 + [(1, 0.3)]
    assert next_arm(play(bandit(n=2, window=20), *episodes)) == 0
    assert next_arm(play(bandit(n=2, window=20, ucb_beta=1.52), *episodes)) == 1
    assert next_arm(play(bandit(n=2, window=20, ucb_beta=0), *[(0, 0), (1, 0.1)])) == 1


def test_an_arm_that_has_left_the_window_comes_first():
    episodes = [(2, 50), (0, 100), (1, 100), (3, 100), (0, 100)]
    assert next_arm(play(bandit(window=5), *episodes)) == 1
    assert next_arm(play(bandit(window=4), *episodes)) == 2
    assert next_arm(play(bandit(window=4, ucb_beta=0), *episodes)) == 2
    assert next_arm(play(bandit(window=4, normalise="window"), *episodes)) == 2


@pytest.mark.parametrize(("window", "shift"), [(13, 0), (100, 0), (100, -5000)])  # empty places hold no return of 0
def test_normalised_means_run_from_0_to_1_in_each_window(window, shift):
    """By hand, lowest 1000, highest 3000: 1 + β √(1/9) against 0.5 + β √(1/4), equal at β = 3; raw, no β helps."""
    episodes = [(0, 3000)] * 9 + [(1, 1000), (1, 3000), (1, 2000), (1, 2000)]
    episodes = [(arm, value + shift) for arm, value in episodes]
    assert next_arm(play(bandit(n=2, window=window, ucb_beta=3.1), *episodes)) == 0
    assert next_arm(play(bandit(n=2, window=window, ucb_beta=3.1, normalise="window"), *episodes)) == 1
    assert next_arm(play(bandit(n=2, window=window, ucb_beta=2.9, normalise="window"), *episodes)) == 0
    constant = [(0, 7)] * 4 + [(1, 7)] * 3
    assert next_arm(play(bandit(n=2, window=window, normalise="window"), *constant)) == 1  # the bonus decides


def test_with_probability_epsilon_any_arm_is_chosen():
    mine = bandit(2000, epsilon=0.5, n=4, window=4, ucb_beta=0.0)
    everyone = torch.arange(2000)
    for _ in range(4):
        arms = mine.choose(everyone)
        mine.update(everyone, arms, (arms == 2).double())
    chosen = mine.choose(everyone)
    for arm, p in enumerate((0.125, 0.125, 0.625, 0.125)):
        assert (chosen == arm).double().mean().item() == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / 2000))


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_arm_follows_a_best_arm_that_moves(seed):
    """Within two windows; a memory without a window would still hold on to the old one."""
    window, g = 80, torch.Generator().manual_seed(seed)
    mine = bandit(seed=seed, n=8, window=window, epsilon=0.5)

    def modal(best, episodes):
        greedy = []
        for _ in range(episodes):
            arms = mine.choose(tensor([0]))
            mine.update(tensor([0]), arms, (arms == best) + 0.5 * torch.randn(1, generator=g))
            greedy.append(mine.greedy())
        return Counter(greedy[-window:]).most_common(1)[0][0]

    assert modal(2, 5 * window) == 2
    assert modal(5, 2 * window) == 5


def test_the_greedy_arm_is_that_of_all_windows_together():
    mine = bandit(2)
    assert mine.greedy() == 0
    for e, arm, value in [(0, 3, -9), (0, 1, -1), (0, 2, -5), (1, 2, -2), (1, 1, -5), (1, 1, -5)]:
        mine.update(tensor([e]), tensor([arm]), tensor([float(value)]))
    assert mine.greedy() == 2  # means −3.67, −3.5, −9 over episodes, not −3, −3.5, −9 over controllers; no arm 0


def rounds(mine, times=30):
    """Play on; returns depend on nothing but arms and controllers."""
    chosen = []
    for _ in range(times):
        arms = mine.choose(ALL)
        mine.update(ALL, arms, (arms * 7 + ALL) % 5 / 3)
        chosen.append(arms.tolist())
    return chosen


@pytest.mark.parametrize("before", [0, 2, 3, 40])
def test_a_resumed_bandit_chooses_the_same(before):
    mine = bandit(3, epsilon=0.5)
    rounds(mine, before)
    started = mine.choose(ALL)  # episodes that are running when the state is taken
    state = mine.state_dict()
    again = bandit(3, epsilon=0.5, seed=99)
    again.load_state_dict(state)
    for each in (mine, again):
        each.update(ALL, started, torch.ones(3))
    expected = rounds(mine)
    assert rounds(again) == expected
    once_more = bandit(3, epsilon=0.5)
    once_more.load_state_dict(state)  # which later play has not changed
    once_more.update(ALL, started, torch.ones(3))
    assert rounds(once_more) == expected
    assert rounds(bandit(3, epsilon=0.5, seed=1), 40) != rounds(bandit(3, epsilon=0.5, seed=2), 40)


@pytest.mark.parametrize(("mine", "theirs"), [(3, 1), (1, 3)])
def test_a_state_of_other_controllers_is_refused(mine, theirs):
    with pytest.raises(ValueError, match=rf"arms \[{theirs}, 7\] do not fit \[{mine}, 7\]"):
        bandit(mine).load_state_dict(bandit(theirs).state_dict())


@pytest.mark.parametrize(
    ("which", "arms", "returns", "says"),
    [
        ([0, 0], [1, 2], [1.0, 2.0], "a controller is named twice"),
        ([0, 1], [1, 4], [1.0, 2.0], "arms must be 0 to 3"),
        ([0, 1], [-1, 0], [1.0, 2.0], "arms must be 0 to 3"),
        ([0, 1], [1, 2], [1.0, math.nan], "returns must be finite"),
        ([0, 1], [1, 2], [1.0], "for \\[2\\] controllers"),
    ],
)
def test_episodes_that_cannot_have_been_are_refused(which, arms, returns, says):
    mine = bandit(3)
    with pytest.raises(ValueError, match=says):
        mine.update(tensor(which), tensor(arms), tensor(returns))
    assert mine.counts().sum() == 0
    with pytest.raises(ValueError, match="named twice"):
        mine.choose(tensor([1, 1]))


def test_a_window_holds_every_arm():
    assert [*spec(window=4).needs(None)] == []
    problems = [*spec(window=3, evaluator=(2, 0.0, 1)).needs(None)]
    assert problems == [
        "meta.window=3 must be at least the number of arms, meta.arms.n=4",
        "meta.evaluator.window=2 must be at least the number of arms, meta.arms.n=4",
    ]


def evaluator(seed=0, window=8, epsilon=0.0, tries=8):
    return spec(evaluator=(window, epsilon, tries)).build_evaluation_bandit(MetaContext.all_of(3, seed=seed))


def remembered(mine):
    """Arms of the episodes in its window."""
    return sorted(arm for arm in mine.state_dict()["arms"].flatten().tolist() if arm < 4)


def test_the_evaluator_chooses_while_it_tries_and_gives_the_best_arm_otherwise():
    mine = evaluator()
    assert mine.tries == 8
    with mine.trying():
        assert mine.choose(torch.arange(6)).tolist() == [0, 1, 2, 3, 0, 1]  # what is in play counts as tried
        mine.update(tensor([2, 0]), tensor([2, 0]), tensor([5.0, 1.0]))
        assert remembered(mine) == [0, 2]
        # by hand: means 1, 3 (of all), 5, 3 and bonuses 1/√(2, 2, 1, 1): 1.7, 3.7, 6, 4
        assert mine.choose(ALL).tolist() == [2, 2, 2]
    assert mine.greedy() == 2
    assert mine.choose(ALL).tolist() == [2, 2, 2]
    mine.update(ALL, tensor([3, 3, 3]), tensor([9.0, 9.0, 9.0]))  # of episodes that made a score
    assert remembered(mine) == [0, 2]
    with mine.trying():  # a new try forgets what never ended
        mine.update(ALL, tensor([0, 1, 3]), tensor([1.0, 1.0, 1.0]))
        mine.update(ALL, tensor([2, 2, 2]), tensor([-9.0, -9.0, -9.0]))
    assert mine.greedy() == 0
    assert len(remembered(mine)) == 8  # its window


def test_a_resumed_evaluator_chooses_the_same():
    def go_on(each):
        arms = []
        with each.trying():
            for _ in range(20):
                chosen = each.choose(ALL)
                each.update(ALL, chosen, (chosen * 7) % 5 / 3)
                arms.append(chosen.tolist())
        return arms, each.greedy()

    mine, again = evaluator(epsilon=0.5), evaluator(epsilon=0.5, seed=1)
    go_on(mine)
    again.load_state_dict(mine.state_dict())
    assert go_on(again) == go_on(mine)


def test_those_without_a_bandit_evaluate_the_arm_that_exploits():
    uniform = UniformSpec(arms=spec().arms).build_evaluation_bandit(MetaContext.all_of(3, seed=0))
    assert uniform.tries == 0
    assert uniform.choose(ALL).tolist() == [0, 0, 0]
