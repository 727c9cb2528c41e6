"""Exam tasks for exploration: a far goal, a deep dive, a coin that ends the search, chains that pay late.

Rules after bsuite's deep sea and discounting chain (Osband et al. 2020) and Agent57's random coin (Badia et al. 2020,
section 4.2); docs/tasks/explore.md has them in words.
"""

from typing import Annotated

import torch
from pydantic import Field

from modules.envs.worlds.explore_worlds import (
    CHAIN_STEPS,
    PAY_TIMES,
    DeepSea,
    DiscountingChain,
    Explore,
    GoalCorridor,
    RandomCoin,
)
from modules.envs.worlds.tiny import MOVE_KEYS, MOVES, NotNegative
from modules.envs.worlds.world import WorldSpec
from modules.keys import GridMap
from modules.spec import Count, Positive, spec

MapSeed = Annotated[int, Field(ge=0, lt=2**32)]


class ExploreSpec(WorldSpec):
    """Settings of a world with a map."""

    def grid_map(self) -> GridMap:
        world = self.world()
        assert isinstance(world, Explore)
        return GridMap(shape=world.grid_shape, cells=world.seen)


@spec
class GoalCorridorSpec(ExploreSpec):
    """A sparse goal: reward 1 at the end of a corridor, 0 before.

    Attributes:
        length: steps from the start to the goal.
        horizon: steps after which an episode is cut off.
        mapping_seed: which action goes right is drawn per cell with this seed; null: action 1 does everywhere, and then
            many an untrained network walks straight to the goal.
    """

    length: Annotated[int, Field(gt=0, le=500)]
    horizon: Positive
    mapping_seed: MapSeed | None

    @property
    def actions(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride] - it depends
        """Left and right, where that is what they always do."""
        return ("left", "right") if self.mapping_seed is None else ("0", "1")

    def episode_limit(self) -> int | None:
        return self.horizon

    def keys(self) -> dict[str, int]:
        """Left and right on the keyboard."""
        return {"a": 0, "d": 1}

    def world(self, device: torch.device | str = "cpu") -> GoalCorridor:
        """Make the rules; raises `UsageError` if the goal is out of reach."""
        return GoalCorridor(self, device=device)


@spec
class DeepSeaSpec(ExploreSpec):
    """bsuite's deep_sea, deterministic.

    Attributes:
        size: rows and columns; also the steps of an episode.
        mapping_seed: which action goes right is drawn per cell with this seed.
        move_cost: what going right in every row costs in all.
    """

    actions = ("0", "1")

    size: Annotated[int, Field(gt=1, le=100)]
    mapping_seed: MapSeed
    move_cost: NotNegative

    def episode_limit(self) -> int | None:
        return self.size

    def keys(self) -> dict[str, int]:
        """Two neighbours on the keyboard."""
        return {"a": 0, "d": 1}

    def world(self, device: torch.device | str = "cpu") -> DeepSea:
        return DeepSea(self, device=device)


@spec
class RandomCoinSpec(ExploreSpec):
    """Agent57's random coin: what explores best avoids the coin, what earns most goes straight for it.

    Attributes:
        size: rows and columns of the room.
        horizon: steps after which an episode is cut off.
    """

    actions = tuple(MOVES)

    size: Annotated[int, Field(gt=1, le=50)]
    horizon: Positive

    def episode_limit(self) -> int | None:
        return self.horizon

    def keys(self) -> dict[str, int]:
        """Where they lie on the keyboard."""
        return dict(MOVE_KEYS)

    def world(self, device: torch.device | str = "cpu") -> RandomCoin:
        """Make the rules; raises `UsageError` if some coin is out of reach."""
        return RandomCoin(self, device=device)


@spec
class DiscountingChainSpec(ExploreSpec):
    """bsuite's discounting_chain.

    Attributes:
        mapping_seed: its remainder by 5 is the number of the chain that pays 10 % more.
    """

    actions = tuple(f"chain {time}" for time in PAY_TIMES)

    mapping_seed: Count

    def episode_limit(self) -> int | None:
        return CHAIN_STEPS

    def world(self, device: torch.device | str = "cpu") -> DiscountingChain:
        return DiscountingChain(self, device=device)


SPECS = {
    "goal_corridor": GoalCorridorSpec,
    "deep_sea": DeepSeaSpec,
    "random_coin": RandomCoinSpec,
    "discounting_chain": DiscountingChainSpec,
}
