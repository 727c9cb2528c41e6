"""The exact optimum of tours: every state of every map, stepped by the world itself, then backward induction."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from modules.envs.base import UNCHANGED
from modules.envs.worlds.layouts import FRESH, GOAL, WALL
from modules.envs.worlds.tour import Tour, TourSpec
from modules.envs.worlds.tour_tasks import Task
from modules.envs.worlds.world import State

UNIT = 10  # rewards are whole tenths, so returns are exact as integers
FAR = 1000  # longer than any episode: return · FAR − steps orders policies by return, then by steps
ACTIONS = 3


def tour_spec(task: str = "open_field", *, layout: str = "original", timeout: str = "original", **rules: Any):
    """The named task; `rules` replace its own."""
    same = {field.name: None for field in fields(Task)}
    return TourSpec(**UNCHANGED, **{"task": task, "layout": layout, "timeout": timeout, **same, **rules})


@dataclass(frozen=True)
class Optimum:
    """Of each map: the best return in 1 / UNIT, the fewest steps for it, whether all goals are visited; [M] each."""

    returns: Tensor
    steps: Tensor
    cleared: Tensor


def optima(world: Tour, n: int, chunk: int = 50) -> Optimum:
    """Solve the next `n` maps of a world."""
    parts = [optimum(world, world.start(min(chunk, n - done))) for done in range(0, n, chunk)]
    return Optimum(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Optimum)))


def optimum(world: Tour, start: State) -> Optimum:
    """Solve the maps of the states `start` [M] for an agent that sees everything."""
    states = States(world, start)
    best = states.values()[0][states.first]
    returns, steps = decoded(best)
    return Optimum(returns, steps, steps < world.task.max_time)


def decoded(value: Tensor) -> tuple[Tensor, Tensor]:
    """Split values into returns in 1 / UNIT and steps."""
    returns = -(-value // FAR)
    return returns, returns * FAR - value


class States:
    """All states of M maps: visited goals × cells × headings, and what each action does in them."""

    def __init__(self, world: Tour, start: State) -> None:
        self.world = world
        cells = start["cells"]
        fresh = (cells & FRESH) != 0
        self._goals = fresh.nonzero()[:, 1].view(len(cells), -1)  # [M, G]
        self._open = ((cells & WALL) == 0).any(0).nonzero().squeeze(1)  # cells where a robot can be on some map
        self._place = torch.full((cells.shape[1],), -1)
        self._place[self._open] = torch.arange(len(self._open))
        subsets = 1 << self._goals.shape[1]
        self._shape = (len(cells), subsets, len(self._open), 4)
        which, visited, place, heading = torch.cartesian_prod(*(torch.arange(n) for n in self._shape)).unbind(1)
        bits = visited.unsqueeze(1) >> torch.arange(self._goals.shape[1]) & 1
        gone = FRESH | (GOAL if world.task.erase_visited else 0)
        self._which = which
        self._cells = cells[which]
        at = self._goals[which]
        self._cells.scatter_(1, at, self._cells.gather(1, at) & ~(bits * gone).to(torch.uint8))
        self._rest = {
            "position": self._open[place],
            "heading": heading,
            "left": (1 - bits).sum(1),
            "event": torch.zeros_like(heading),
        }
        self.first = self._index(torch.arange(len(cells)), start)

    def _index(self, which: Tensor, state: State) -> Tensor:
        """Find states among all."""
        goals = self._goals[which]
        visited = (((state["cells"].gather(1, goals) & FRESH) == 0) << torch.arange(goals.shape[1])).sum(1)
        _, subsets, places, headings = self._shape
        place = self._place[state["position"]]
        assert (place >= 0).all()
        return ((which * subsets + visited) * places + place) * headings + state["heading"]

    def table(self, time: int) -> tuple[Tensor, Tensor, Tensor]:
        """Act at `time` in every state: reward · UNIT · FAR − 1, next state, whether the episode continues; [S, A]."""
        columns = []
        for action in range(ACTIONS):
            now = {"cells": self._cells.clone(), "time": torch.full_like(self._which, time), **self._rest}
            state, reward, terminated, truncated = self.world.step(now, torch.full_like(self._which, action))
            after = self._index(self._which, state)
            assert torch.equal(state["cells"], self._cells[after])
            assert torch.equal(state["left"], self._rest["left"][after])
            assert (state["time"] == time + 1).all()
            tenths = (reward.double() * UNIT).round().long()
            assert torch.allclose(tenths / UNIT, reward)
            columns.append((tenths * FAR - 1, after, ~(terminated | truncated)))
        gain, successor, goes_on = (torch.stack(column, 1) for column in zip(*columns, strict=True))
        return gain, successor, goes_on

    def values(self) -> list[Tensor]:
        """Backward induction: the value of every state at each time, [S] each."""
        limit = self.world.task.max_time
        gain, _, goes_on = self.table(limit - 1)
        assert not goes_on.any()  # whatever happens in the last step, the episode ends
        values = [gain.amax(1)]
        gain, successor, goes_on = self.table(0)
        for _ in range(limit - 1):
            values.append((gain + goes_on * values[-1][successor]).amax(1))
        return values[::-1]

    def seen(self, time: int) -> list[bytes]:
        """What is seen in every state at `time`."""
        now = {"cells": self._cells, "time": torch.full_like(self._which, time), **self._rest}
        return [bytes(row) for row in self.world.observe(now).flatten(1).numpy()]


def best_reactive(world: Tour, start: State) -> tuple[float, float]:
    """Return and steps of the best policy that is a function of the observation, over the maps of `start` alike.

    Depth-first search over policies, an action being chosen when its observation is first met; a branch is left when
    even an agent that sees everything could not make it better than the best policy known.
    """
    states = States(world, start)
    limit, n = world.task.max_time, len(states.first)
    seen = [states.seen(time) for time in range(limit)]
    bounds = [value.tolist() for value in states.values()]
    early, late = ([column.tolist() for column in states.table(time)] for time in (0, limit - 1))
    first = states.first.tolist()
    rest = [sum(bounds[0][s] for s in first[m + 1 :]) for m in range(n)]
    best = -FAR * FAR

    def search(m: int, time: int, state: int, total: int, policy: dict[bytes, int]) -> None:
        nonlocal best
        if total + bounds[time][state] + rest[m] <= best:
            return
        here = seen[time][state]
        gain, successor, goes_on = late if time == limit - 1 else early
        for action in [policy[here]] if here in policy else range(ACTIONS):
            chosen, sofar = {**policy, here: action}, total + gain[state][action]
            if goes_on[state][action]:
                search(m, time + 1, successor[state][action], sofar, chosen)
            elif m + 1 < n:
                search(m + 1, 0, first[m + 1], sofar, chosen)
            else:
                best = max(best, sofar)

    search(0, 0, first[0], 0, {})
    returns, steps = decoded(torch.tensor(best))
    return int(returns) / UNIT / n, int(steps) / n
