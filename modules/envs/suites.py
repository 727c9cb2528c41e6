"""Public suites of tasks, whose ids are the tasks' short names."""

import importlib

from modules.envs.gym import GymSpec
from modules.envs.ids import import_extra
from modules.spec import spec


@spec
class PopgymSpec(GymSpec):
    """A task of POPGym (Morad et al. 2023) by its name, such as RepeatPreviousEasy."""

    @property
    def registered(self) -> str:
        import_extra("popgym", "popgym", "env=popgym")
        return f"popgym-{self.id}-v0"


@spec
class MinatarSpec(GymSpec):
    """A game of MinAtar (Young & Tian 2019) by its name, such as Breakout; v1, with the actions that the game knows."""

    @property
    def registered(self) -> str:
        import_extra("minatar", "minatar", "env=minatar")
        importlib.import_module("minatar.gym").register_envs()
        return f"MinAtar/{self.id}-v1"
