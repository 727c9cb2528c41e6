"""Rules of the exam tasks for exploration, as pure functions on tensors; `explore.py` has their settings."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from modules.envs.worlds.tiny import MOVES
from modules.envs.worlds.world import DOWN, FOUND, HIT, NOTHING, RIGHT, UP, SmallWorld, State, one_hot
from modules.keys import Spaces
from modules.spec import UsageError

if TYPE_CHECKING:  # it imports this file
    from modules.envs.worlds.explore import DeepSeaSpec, DiscountingChainSpec, GoalCorridorSpec, RandomCoinSpec

PAY_TIMES, BONUS, CHAIN_STEPS = (1, 3, 10, 30, 100), 0.1, 100  # bsuite's chains
NOT_CHOSEN = -1  # no chain yet


class Explore(SmallWorld):
    """What these worlds share: a map of `grid_shape` (rows, columns), on which `cells` says where an episode is.

    A heat map of visits counts `seen(observation)`.
    """

    heading: ClassVar[int]
    grid_shape: tuple[int, int]
    steps: int  # of an episode at most

    def cells(self, state: State) -> Tensor:
        """Where each episode is, row · columns + column, [N] of int64; every state has a cell, the last one too.

        Here it is the state's `place`.
        """
        return state["place"].clone()

    def seen(self, observation: Tensor) -> Tensor:
        """The same by the observations; −1 where they do not tell. Here they are, or begin with, a 1 on the map."""
        top = observation[..., : self.grid_shape[1]].flatten(1).max(1)
        return torch.where(top.values > 0, top.indices, -1)

    def goals(self) -> tuple[tuple[int, int], ...]:
        """Cells (row, column) that pay in every episode."""
        return tuple((int(row), int(column)) for row, column in np.argwhere(np.isin(self.field({}), ("G", "g"))))

    def field(self, one: State) -> np.ndarray:
        """One episode's map as characters, [rows, columns]: `.` free, `#` out of reach, `G` goal, `g` lesser goal."""
        raise NotImplementedError


def action_map(seed: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Which action goes right in each cell, drawn once and for all."""
    stream = np.random.RandomState(seed)  # old, but bsuite's: the same seed gives the same map
    return torch.as_tensor(stream.binomial(1, 0.5, shape), dtype=torch.int64, device=device)


class GoalCorridor(Explore):
    """A corridor with a reward at its far end only.

    A state has [N] each `place` (0 to length), `time` and `event`.
    """

    heading = RIGHT

    def __init__(self, task: "GoalCorridorSpec", *, device: torch.device | str) -> None:
        if task.horizon < task.length:
            raise UsageError(
                f"env.horizon={task.horizon} must be at least env.length={task.length}, or nobody can reach the goal"
            )
        self.task, self.steps, cells = task, task.horizon, task.length + 1
        self.grid_shape = (1, cells)
        spaces = Spaces(observation_shape=(cells,), observation_dtype=torch.uint8, n_actions=2)
        super().__init__(spaces, bounds=(0.0, 1.0), device=device)
        seed = task.mapping_seed
        plain = torch.ones(cells, dtype=torch.int64, device=self.device)
        self._right = plain if seed is None else action_map(seed, (cells,), self.device)

    def start(self, n: int) -> State:
        return {"place": self._all(n, 0), "time": self._all(n, 0), "event": self._all(n, NOTHING)}

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Go left or right; left of the left end is a wall."""
        place, time = state["place"], state["time"] + 1
        right = action == self._right[place]
        place = (place + 2 * right.long() - 1).clamp(0, self.task.length)
        found = place == self.task.length
        late = (time >= self.task.horizon) & ~found
        state = {"place": place, "time": time, "event": torch.where(found, FOUND, torch.where(late, HIT, NOTHING))}
        return state, found.float(), found, late

    def observe(self, state: State) -> Tensor:
        """[N, length + 1]: 1 at the cell."""
        return one_hot(state["place"], self.task.length + 1)

    def field(self, one: State) -> np.ndarray:
        """The goal at the right end."""
        del one
        return np.array([[*"." * self.task.length, "G"]])


class DeepSea(Explore):
    """A dive through size × size cells, one row per step; only going right in every row finds the treasure.

    A state has [N] each `column`, `time` (the row; `size` = the ground) and `event`.
    """

    heading = DOWN

    def __init__(self, task: "DeepSeaSpec", *, device: torch.device | str) -> None:
        self.task, self.steps, size = task, task.size, task.size
        self.grid_shape = (size + 1, size)
        spaces = Spaces(observation_shape=(size, size), observation_dtype=torch.uint8, n_actions=2)
        super().__init__(spaces, bounds=(0.0, 1.0), device=device)
        self._right = action_map(task.mapping_seed, (size, size), self.device)

    def start(self, n: int) -> State:
        return {"column": self._all(n, 0), "time": self._all(n, 0), "event": self._all(n, NOTHING)}

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Sink by a row and go left or right, at the edges straight down."""
        size, column, row = self.task.size, state["column"], state["time"]
        right, time = action == self._right[row, column], row + 1
        found = right & (column == size - 1)
        reward = found.float() - right * (self.task.move_cost / size)
        ends = time >= size
        state = {
            "column": (column + 2 * right.long() - 1).clamp(0, size - 1),
            "time": time,
            "event": torch.where(found, FOUND, torch.where(ends, HIT, NOTHING)),
        }
        return state, reward, ends, torch.zeros_like(ends)

    def observe(self, state: State) -> Tensor:
        """[N, size, size]: 1 at the cell; all 0 on the ground."""
        size = self.task.size
        return one_hot(self.cells(state), size * size).view(-1, size, size)

    def cells(self, state: State) -> Tensor:
        """Row and column; the last row of the map is the ground."""
        return state["time"] * self.task.size + state["column"]

    def field(self, one: State) -> np.ndarray:
        """The treasure at the bottom right, and what can be reached: nothing right of the diagonal."""
        del one
        grid = np.where(np.tri(self.task.size + 1, self.task.size, dtype=bool), ".", "#")
        grid[-2, -1], grid[-1] = "G", "#"
        return grid


class RandomCoin(Explore):
    """An empty room with a coin, robot and coin at random places; taking the coin ends the episode.

    A state has [N] each `place` and `coin` (row · size + column), `time` and `event`.
    """

    heading = UP

    def __init__(self, task: "RandomCoinSpec", *, device: torch.device | str) -> None:
        size = task.size
        if task.horizon < (way := 2 * (size - 1)):
            raise UsageError(f"env.horizon={task.horizon} must be at least {way}, the way between two corners")
        self.task, self.steps, self.grid_shape = task, task.horizon, (size, size)
        spaces = Spaces(observation_shape=(size, 2 * size), observation_dtype=torch.uint8, n_actions=len(MOVES))
        super().__init__(spaces, bounds=(0.0, 1.0), device=device)
        self._moves = torch.tensor([*MOVES.values()], device=self.device)

    def start(self, n: int) -> State:
        cells = self.task.size**2
        place = self._draw(cells, (n,))
        coin = (place + 1 + self._draw(cells - 1, (n,))) % cells
        return {"place": place, "coin": coin, "time": self._all(n, 0), "event": self._all(n, NOTHING)}

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Move, or stay where a wall is."""
        size, time = self.task.size, state["time"] + 1
        right, up = self._moves[action].unbind(1)
        row = (state["place"] // size - up).clamp(0, size - 1)
        column = (state["place"] % size + right).clamp(0, size - 1)
        place = row * size + column
        found = place == state["coin"]
        late = (time >= self.task.horizon) & ~found
        event = torch.where(found, FOUND, torch.where(late, HIT, NOTHING))
        return {"place": place, "coin": state["coin"], "time": time, "event": event}, found.float(), found, late

    def observe(self, state: State) -> Tensor:
        """[N, size, 2 · size]: 1 at the robot, and beside it 1 at the coin."""
        size = self.task.size
        planes = [one_hot(state[name], size * size).view(-1, size, size) for name in ("place", "coin")]
        return torch.cat(planes, 2)

    def goals(self) -> tuple[tuple[int, int], ...]:
        return ()

    def field(self, one: State) -> np.ndarray:
        grid = np.full(self.grid_shape, ".")
        grid.flat[int(one["coin"])] = "G"
        return grid


class DiscountingChain(Explore):
    """The first action chooses a chain; each pays once, some late, and one of them a little more.

    A state has [N] each `chain` (the first action; −1 before it), `time` and `event`.
    """

    heading = RIGHT

    def __init__(self, task: "DiscountingChainSpec", *, device: torch.device | str) -> None:
        self.task, self.steps, chains = task, CHAIN_STEPS, len(PAY_TIMES)
        self.grid_shape = (1 + chains, 1 + CHAIN_STEPS)
        spaces = Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=chains)
        super().__init__(spaces, bounds=(float(NOT_CHOSEN), chains - 1.0), device=device)
        self.intrinsic_reward = task.mapping_seed % chains
        self._times = torch.tensor(PAY_TIMES, device=self.device)
        self._pays = 1 + BONUS * one_hot(torch.tensor([self.intrinsic_reward], device=self.device), chains)[0].float()

    def start(self, n: int) -> State:
        return {"chain": self._all(n, NOT_CHOSEN), "time": self._all(n, 0), "event": self._all(n, NOTHING)}

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Choose a chain first, wait after that."""
        chain, time = torch.where(state["time"] == 0, action, state["chain"]), state["time"] + 1
        paid = time == self._times[chain]
        ends = time >= CHAIN_STEPS
        state = {"chain": chain, "time": time, "event": torch.where(paid, FOUND, NOTHING)}
        return state, paid * self._pays[chain], ends, torch.zeros_like(ends)

    def observe(self, state: State) -> Tensor:
        """[N, 2]: the chain, −1 before the choice; the share of the time that is over."""
        return torch.stack((state["chain"], state["time"] / CHAIN_STEPS), 1).float()

    def cells(self, state: State) -> Tensor:
        """A row per chain, the first for the time before the choice; a column per step."""
        return (state["chain"] + 1) * (CHAIN_STEPS + 1) + state["time"]

    def seen(self, observation: Tensor) -> Tensor:
        chain, time = observation[:, 0].long(), (observation[:, 1] * CHAIN_STEPS).round().long()
        return (chain + 1) * (CHAIN_STEPS + 1) + time

    def field(self, one: State) -> np.ndarray:
        """Where each chain pays; the darker one pays more."""
        del one
        grid = np.full(self.grid_shape, "#")
        grid[1:, 1:], grid[0, 0] = ".", "."
        for chain, time in enumerate(PAY_TIMES):
            grid[1 + chain, time] = "G" if chain == self.intrinsic_reward else "g"
        return grid
