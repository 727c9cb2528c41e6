"""Bandits of many actors."""

import torch
from torch import tensor

from modules.meta_controller import MetaContext
from tests.modules.meta_controller.test_bandit import Naive, spec


def test_bandits_of_64_actors_play_as_those_of_one_would():
    """Two environments each; their numbers among all of the run say with which arm they begin."""
    n, window, total = 4, 7, 128
    actors = [
        spec(n=n, window=window).build(MetaContext(numbers=range(first, first + 2), total=total, seed=first))
        for first in range(0, total, 2)
    ]
    naive = [Naive(n, window, 1.0, "none", first) for first in range(total)]
    g = torch.Generator().manual_seed(2)
    for _ in range(25):
        for number, actor in enumerate(actors):
            arms, returns = actor.choose(tensor([0, 1])), torch.randint(-1, 2, (2,), generator=g)
            mine = naive[2 * number : 2 * number + 2]
            assert arms.tolist() == [one.choose() for one in mine]
            actor.update(tensor([0, 1]), arms, returns)
            for one, arm, value in zip(mine, arms.tolist(), returns.tolist(), strict=True):
                one.episodes.append((arm, value))
