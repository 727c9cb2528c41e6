"""Public suites of tasks, whose ids are the tasks' short names."""

from modules.envs.gym import GymSpec
from modules.spec import spec


@spec
class PopgymSpec(GymSpec):
    """A task of POPGym (Morad et al. 2023) by its name, such as RepeatPreviousEasy."""

    @property
    def registered(self) -> str:
        return f"popgym-{self.id}-v0"


@spec
class MinatarSpec(GymSpec):
    """A game of MinAtar (Young & Tian 2019) by its name, such as Breakout; v1, with the actions that the game knows."""

    @property
    def registered(self) -> str:
        return f"MinAtar/{self.id}-v1"
