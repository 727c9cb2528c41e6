"""Tiny exam tasks for memory: say what was shown first, turn where a cue said, repeat an earlier card.

Rules after bsuite's memory chain (Osband et al. 2020), the passive T-maze of Ni et al. (2023) and POPGym's
RepeatPrevious (Morad et al. 2023); docs/tasks/tiny.md has them in words. All last a number of steps that belongs to
the task, after which nothing more can be earned, so every end is a termination.
"""

import torch
from torch import Tensor

from modules.envs.worlds.world import FOUND, HIT, NOTHING, SmallWorld, State, WorldSpec, one_hot
from modules.keys import Spaces
from modules.spec import NonNegative, Positive, UsageError, spec

SUITS, DECK = 4, 52  # cards of a deck
MOVES = {"right": (1, 0), "up": (0, 1), "left": (-1, 0), "down": (0, -1)}  # x, y of each action
MOVE_KEYS = "dwas"  # where they lie on the keyboard
BLANK = -1  # nothing said yet


class MemoryLen(SmallWorld):
    """The memory chain: bits show at the start, one of them is asked for at the end.

    A state has `bits` [N, bits] of 0 and 1, and [N] each `query` (the bit that will be asked for), `time`, `said` (the
    last action) and `event`. As in bsuite, whose clock starts one step late, bits show in the first two observations.
    """

    def __init__(self, task: "MemoryLenSpec", *, device: torch.device | str) -> None:
        self.task = task
        spaces = Spaces(observation_shape=(2 + task.bits,), observation_dtype=torch.float32, n_actions=2)
        super().__init__(spaces, bounds=(-1.0, max(1.0, task.bits - 1.0)), device=device)

    def start(self, n: int) -> State:
        return {
            "bits": self._draw(2, (n, self.task.bits)),
            "query": self._draw(self.task.bits, (n,)),
            "time": self._all(n, 0),
            "said": self._all(n, BLANK),
            "event": self._all(n, NOTHING),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Say a bit; only the last step counts."""
        time = state["time"] + 1
        ends = time > self.task.length
        right = action == state["bits"].gather(1, state["query"].unsqueeze(1)).squeeze(1)
        event = torch.where(ends, torch.where(right, FOUND, HIT), NOTHING)
        reward = torch.where(ends, 2.0 * right - 1, 0.0)
        return {**state, "time": time, "said": action.clone(), "event": event}, reward, ends, torch.zeros_like(ends)

    def shows(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """The clock as observed, and whether the bits and the query show, [N] each."""
        clock = (state["time"] - 1).clamp(min=0)
        return clock, clock == 0, clock == self.task.length - 1

    def observe(self, state: State) -> Tensor:
        """[N, 2 + bits]: share of the time that is left, number of the bit asked for, bits as −1 and 1; 0 = hidden."""
        clock, first, last = self.shows(state)
        left, query = 1 - clock / self.task.length, state["query"] * last
        bits = (2 * state["bits"] - 1) * first.unsqueeze(1)
        return torch.cat((left.unsqueeze(1), query.unsqueeze(1), bits), 1).float()


@spec
class MemoryLenSpec(WorldSpec):
    """bsuite's memory_len: remember a bit (with bits > 1 its memory_size).

    Attributes:
        length: bsuite's memory length; an episode has one step more.
        bits: bits that are shown.
    """

    actions = ("say 0", "say 1")
    world_class = MemoryLen

    length: Positive
    bits: Positive

    def episode_limit(self) -> int | None:
        return self.length + 1


class PassiveTmaze(SmallWorld):
    """The passive T-maze: a cue at the start, a corridor, and at its end the choice of an arm in the last step.

    A state has [N] each `goal` (y of the cued arm, −1 or 1), `x` and `y` (the junction is at (length, 0)), `time` and
    `event`.
    """

    def __init__(self, task: "PassiveTmazeSpec", *, device: torch.device | str) -> None:
        self.task = task
        spaces = Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=len(MOVES))
        super().__init__(spaces, bounds=(-1.0, 1.0), device=device)
        self._moves = torch.tensor([*MOVES.values()], device=self.device)

    def start(self, n: int) -> State:
        return {
            "goal": 2 * self._draw(2, (n,)) - 1,
            "x": self._all(n, 0),
            "y": self._all(n, 0),
            "time": self._all(n, 0),
            "event": self._all(n, NOTHING),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Move, or stay where a wall is; the penalty is for every step but the last that leaves the robot behind."""
        task, length = self.task, self.task.length
        dx, dy = self._moves[action].unbind(1)
        x, y, time = state["x"] + dx, state["y"] + dy, state["time"] + 1
        free = (x >= 0) & (x <= length) & (y.abs() <= 1) & ((y == 0) | (x == length))
        x, y = torch.where(free, x, state["x"]), torch.where(free, y, state["y"])
        ends = time > length
        found, late = ends & (y == state["goal"]), ~ends & (x < time)
        reward = found * task.reward_goal - late * (task.penalty / length)
        event = torch.where(found, FOUND, torch.where(ends | late, HIT, NOTHING))
        state = {"goal": state["goal"], "x": x, "y": y, "time": time, "event": event}
        return state, reward, ends, torch.zeros_like(ends)

    def observe(self, state: State) -> Tensor:
        """[N, 2]: 1 at the junction and in the arms; the cue in the first observation, y everywhere else."""
        cue = torch.where(state["time"] == 0, state["goal"], state["y"])
        return torch.stack((state["x"] == self.task.length, cue), 1).float()


@spec
class PassiveTmazeSpec(WorldSpec):
    """The passive T-maze of Ni et al. (2023); without the penalty it is that of Bakker (2001).

    Attributes:
        length: steps from the start to the junction; an episode has one step more.
        reward_goal: for being in the cued arm at the end.
        penalty: what standing still all the time costs; each step that leaves x < time costs 1 / length of it.
    """

    actions = tuple(MOVES)
    keyboard = MOVE_KEYS
    world_class = PassiveTmaze

    length: Positive
    reward_goal: float
    penalty: NonNegative

    def episode_limit(self) -> int | None:
        return self.length + 1


class RepeatPrevious(SmallWorld):
    """Cards of four suits, one per step; say the suit of the k-th last one, the one that shows included.

    A state has `cards` [N, length + 1], all suits in the order in which they show, and [N] each `time`, `said` (the
    last action) and `event`. Cards come from as many decks of 52 as are needed, shuffled together.
    """

    def __init__(self, task: "RepeatPreviousSpec", *, device: torch.device | str) -> None:
        if task.k > task.length:
            raise UsageError(f"env.k={task.k} must be at most env.length={task.length}, or no answer would count")
        self.task = task
        spaces = Spaces(observation_shape=(SUITS,), observation_dtype=torch.uint8, n_actions=SUITS)
        super().__init__(spaces, bounds=(0.0, 1.0), device=device)

    def start(self, n: int) -> State:
        shown = self.task.length + 1
        cards = -(-shown // DECK) * DECK
        order = torch.rand((n, cards), dtype=torch.float64, generator=self._generator, device=self.device)
        return {
            "cards": order.argsort(1)[:, :shown] % SUITS,
            "time": self._all(n, 0),
            "said": self._all(n, BLANK),
            "event": self._all(n, NOTHING),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Say a suit; it counts as soon as k cards have been shown."""
        asked, time = state["time"] - (self.task.k - 1), state["time"] + 1
        counts, ends = asked >= 0, time >= self.task.length
        right = action == state["cards"].gather(1, asked.clamp(min=0).unsqueeze(1)).squeeze(1)
        reward = torch.where(counts, (2.0 * right - 1) / (self.task.length + 1 - self.task.k), 0.0)
        event = torch.where(counts, torch.where(right, FOUND, HIT), NOTHING)
        return {**state, "time": time, "said": action.clone(), "event": event}, reward, ends, torch.zeros_like(ends)

    def card(self, state: State) -> Tensor:
        """Suit of the card that shows, [N]."""
        return state["cards"].gather(1, state["time"].unsqueeze(1)).squeeze(1)

    def observe(self, state: State) -> Tensor:
        """[N, 4]: 1 at the suit that shows."""
        return one_hot(self.card(state), SUITS)


@spec
class RepeatPreviousSpec(WorldSpec):
    """POPGym's RepeatPrevious; the return lies between −1 and 1.

    Attributes:
        k: which card to say, counted back from the one that shows; 1 = the one that shows.
        length: steps of an episode; POPGym's easy, medium and hard tasks have 51, 103 and 155.
    """

    world_class = RepeatPrevious

    k: Positive
    length: Positive

    def episode_limit(self) -> int | None:
        return self.length


SPECS = {"memory_len": MemoryLenSpec, "passive_tmaze": PassiveTmazeSpec, "repeat_previous": RepeatPreviousSpec}
