"""The shower: hold the water within a comfortable band while the tap drifts.

Rules after a tutorial's first environment of one's own; docs/tasks/shower.md has them in words, and what was changed.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from modules.envs.worlds.world import FOUND, HIT, NOTHING, SmallWorld, State, WorldSpec
from modules.keys import Spaces
from modules.spec import UsageError, spec

COLDER, STAY, WARMER = range(3)
SCALE = 5.0  # degrees that are 1 in a scaled observation
Degrees = Annotated[int, Field(ge=0, le=100)]


class Shower(SmallWorld):
    """Temperatures in whole degrees.

    A state has [N] each `temperature`, `time`, `said` (the last action) and `event`, and `noise` [N, horizon], how the
    tap will drift after each step: drawn at the start, since steps draw nothing.
    """

    def __init__(self, task: "ShowerSpec", *, device: torch.device | str) -> None:
        for name in ("start", "comfortable"):
            low, high = getattr(task, name)
            if low > high:
                raise UsageError(f"env.{name}=[{low}, {high}] must have its lower end first")
        self.task, self.middle = task, sum(task.comfortable) / 2
        self.offset, self.scale = (self.middle, SCALE) if task.observation == "scaled" else (0.0, 1.0)
        furthest = task.horizon * (1 + task.noise)
        low, high = task.start[0] - furthest, task.start[1] + furthest
        super().__init__(
            Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=3),
            bounds=((low - self.offset) / self.scale, (high - self.offset) / self.scale),
            device=device,
        )

    def start(self, n: int) -> State:
        """Draw first temperatures and all drift."""
        (low, high), noise = self.task.start, self.task.noise
        return {
            "temperature": low + self._draw(high - low + 1, (n,)),
            "noise": (self._draw(2 * noise + 1, (n, self.task.horizon)) - noise).to(torch.int8),
            "time": self._all(n, 0),
            "said": self._all(n, STAY),
            "event": self._all(n, NOTHING),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Turn the tap, be paid for the temperature, then let it drift."""
        task, (low, high) = self.task, self.task.comfortable
        temperature, time = state["temperature"] + action - STAY, state["time"] + 1
        comfortable = (temperature >= low) & (temperature <= high)
        drift = state["noise"].gather(1, state["time"].unsqueeze(1)).squeeze(1)
        after = {
            **state,
            "temperature": temperature + drift,
            "time": time,
            "said": action.clone(),
            "event": torch.where(comfortable, FOUND, HIT),
        }
        over, never = time >= task.horizon, torch.zeros_like(comfortable)
        ends = (never, over) if task.ends == "truncated" else (over, never)
        return after, 2.0 * comfortable - 1, *ends

    def observe(self, state: State) -> Tensor:
        """[N, 1]: the temperature, or how many times `SCALE` degrees it is above the middle of the comfortable band."""
        return ((state["temperature"] - self.offset) / self.scale).float().unsqueeze(1)


@spec
class ShowerSpec(WorldSpec):
    """The shower; with `horizon` steps the return lies between −`horizon` and `horizon`.

    Attributes:
        start: coldest and warmest first temperature, degrees; all between are equally likely.
        comfortable: coldest and warmest temperature that pays 1; others cost 1.
        noise: degrees by which the temperature drifts at most after each step.
        horizon: steps of an episode.
        ends: truncated, so that learning bootstraps at the end, for the clock does not show; or terminated, as the
            original has it.
        observation: scaled (around the middle of the comfortable band, in units of 5 degrees) or raw (degrees).
    """

    actions = ("colder", "stay", "warmer")
    keyboard = "asd"
    world_class = Shower

    start: tuple[Degrees, Degrees]
    comfortable: tuple[Degrees, Degrees]
    noise: Annotated[int, Field(ge=0, le=10)]
    horizon: Annotated[int, Field(gt=0, le=10_000)]
    ends: Literal["truncated", "terminated"]
    observation: Literal["scaled", "raw"]

    def episode_limit(self) -> int | None:
        return self.horizon


SPECS = {"shower": ShowerSpec}
