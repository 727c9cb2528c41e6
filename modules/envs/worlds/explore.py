"""Exam tasks for exploration: a far goal, a deep dive, a coin that ends the search, chains that pay late.

Rules after bsuite's deep sea and discounting chain (Osband et al. 2020) and Agent57's random coin (Badia et al. 2020,
section 4.2); docs/tasks/explore.md has them in words.
"""

from typing import Annotated

from pydantic import Field

from modules.envs.worlds import explore_worlds
from modules.envs.worlds.tiny import MOVE_KEYS, MOVES
from modules.envs.worlds.world import WorldSpec
from modules.keys import GridMap
from modules.spec import Count, NonNegative, Positive, spec

MapSeed = Annotated[int, Field(ge=0, lt=2**32)]


class ExploreSpec(WorldSpec):
    """Settings of a world with a map."""

    def grid_map(self) -> GridMap:
        world = self.world()
        assert isinstance(world, explore_worlds.Explore)
        return GridMap(shape=world.grid_shape, cells=world.seen, goals=world.goals())


@spec
class GoalCorridorSpec(ExploreSpec):
    """A sparse goal: reward 1 at the end of a corridor, 0 before.

    Attributes:
        length: steps from the start to the goal.
        horizon: steps after which an episode is cut off.
        mapping_seed: which action goes right is drawn per cell with this seed; null: action 1 does everywhere, and then
            many an untrained network walks straight to the goal.
    """

    keyboard = "ad"
    world_class = explore_worlds.GoalCorridor

    length: Annotated[int, Field(gt=0, le=500)]
    horizon: Positive
    mapping_seed: MapSeed | None

    @property
    def actions(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride] - it depends
        """Left and right, where that is what they always do."""
        return ("left", "right") if self.mapping_seed is None else ("0", "1")

    def episode_limit(self) -> int | None:
        return self.horizon


@spec
class DeepSeaSpec(ExploreSpec):
    """bsuite's deep_sea, deterministic.

    Attributes:
        size: rows and columns; also the steps of an episode.
        mapping_seed: which action goes right is drawn per cell with this seed.
        move_cost: what going right in every row costs in all.
    """

    actions = ("0", "1")
    keyboard = "ad"
    world_class = explore_worlds.DeepSea

    size: Annotated[int, Field(gt=1, le=100)]
    mapping_seed: MapSeed
    move_cost: NonNegative

    def episode_limit(self) -> int | None:
        return self.size


@spec
class RandomCoinSpec(ExploreSpec):
    """Agent57's random coin: what explores best avoids the coin, what earns most goes straight for it.

    Attributes:
        size: rows and columns of the room.
        horizon: steps after which an episode is cut off.
    """

    actions = tuple(MOVES)
    keyboard = MOVE_KEYS
    world_class = explore_worlds.RandomCoin

    size: Annotated[int, Field(gt=1, le=50)]
    horizon: Positive

    def episode_limit(self) -> int | None:
        return self.horizon


@spec
class DiscountingChainSpec(ExploreSpec):
    """bsuite's discounting_chain.

    Attributes:
        mapping_seed: its remainder by 5 is the number of the chain that pays 10 % more.
    """

    actions = tuple(f"chain {time}" for time in explore_worlds.PAY_TIMES)
    world_class = explore_worlds.DiscountingChain

    mapping_seed: Count

    def episode_limit(self) -> int | None:
        return explore_worlds.CHAIN_STEPS


SPECS = {
    "goal_corridor": GoalCorridorSpec,
    "deep_sea": DeepSeaSpec,
    "random_coin": RandomCoinSpec,
    "discounting_chain": DiscountingChainSpec,
}
