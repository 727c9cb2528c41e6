"""The data's vocabulary: every TensorDict entry's name, shape, dtype, writer and readers, once.

The entries of a recurrent state are declared by the memory that has it (`MemorySpec.state`), and nowhere else.

B: rows in a batch, N: environments, T: steps, A: actions, H: units of the memory, layers: its layers. An arm is a
member of the family of policies: a weight β of the intrinsic reward with a discount γ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch

if TYPE_CHECKING:
    from tensordict import TensorDictBase

OBSERVATION = "observation"
ACTION = "action"
ACTION_VALUE = "action_value"
QUANTILES = "quantiles"
REWARD = "reward"
DONE = "done"
TERMINATED = "terminated"
TRUNCATED = "truncated"
IS_INIT = "is_init"
STEP_COUNT = "step_count"
EPISODE_RETURN = "episode_return"
EMBED = "embed"
MEMORY = "memory"
MASK = "mask"
PREVIOUS_ACTION = "previous_action"
PREVIOUS_REWARD = "previous_reward"
PREVIOUS_INTRINSIC = "previous_intrinsic"
INTRINSIC = "intrinsic_reward"
INTRINSIC_RETURN = "intrinsic_return"
BEHAVIOUR = "behaviour"
ACTED_VALUE = "acted_value"
GREEDY_VALUE = "greedy_value"
ARM = "arm"
ROW = "row"
PREVIOUS_ROW_ID = "before"  # as replays on disk have it
ENVIRONMENT = "environment"
FOLLOWS = "follows"
PRIORITY = "priority"
WEIGHT = "weight"


@dataclass(frozen=True)
class Key:
    """One entry of the TensorDict: `shape` while acting; in a replay row time replaces N as first axis."""

    name: str
    shape: str
    dtype: str
    writer: str
    readers: str


KEYS = (
    Key(OBSERVATION, "[N, *shape]; row: [T+1, *shape]", "uint8 or float32", "envs", "networks.torsos, replay"),
    Key(ACTION, "[N]", "int64", "Policy", "envs, replay, losses"),
    Key(ACTION_VALUE, "[N, A]", "float32", "networks.heads", "losses"),
    Key(QUANTILES, "[N, A, quantiles]", "float32", "networks.heads", "losses"),
    Key(REWARD, "[N, 1]; row: [T]", "float32", "envs (in next)", "replay, losses"),
    Key(DONE, "[N, 1]", "bool", "envs (in next): terminated or truncated", "replay, evaluation"),
    Key(TERMINATED, "[N, 1]; row: [T]", "bool", "envs (in next)", "replay, losses"),
    Key(TRUNCATED, "[N, 1]", "bool", "envs (in next)", "collector"),
    Key(IS_INIT, "[N, 1]", "bool", "EpisodeTracker", "Policy"),
    Key(STEP_COUNT, "[N, 1]", "int64", "EpisodeTracker", "loop, evaluation"),
    Key(EPISODE_RETURN, "[N, 1]", "float64", "EpisodeTracker", "loop, evaluation"),
    Key(PREVIOUS_ACTION, "[N]; sampled row: [T+1]", "int64", "PreviousStep, replay", "networks.inputs"),
    Key(PREVIOUS_REWARD, "[N]; sampled row: [T+1]", "float32", "PreviousStep, replay", "networks.inputs"),
    Key(PREVIOUS_INTRINSIC, "[N]; sampled row: [T+1]", "float32", "PreviousStep, replay", "networks.inputs"),
    Key(INTRINSIC, "[N, 1]; row: [T]", "float32", "IntrinsicRewardTransform (in next)", "replay, losses, PreviousStep"),
    Key(INTRINSIC_RETURN, "[N, 1]", "float64", "IntrinsicRewardTransform", "loop"),
    Key(BEHAVIOUR, "[N]; row: [T]", "float32", "Policy: probability of the action taken", "replay, losses"),
    Key(ACTED_VALUE, "[N]; row: [T]", "float32", "Policy: value of the action taken", "replay.actor_rows"),
    Key(GREEDY_VALUE, "[N]; row: [T]", "float32", "Policy: highest value", "replay.actor_rows"),
    Key(ARM, "[N]; row: []; sampled row: [T+1]", "int64", "ArmPerEpisode", "Policy, networks.inputs, replay, losses"),
    Key(EMBED, "[N, features]", "float32", "networks.torsos", "networks.recurrent"),
    Key(MEMORY, "[N, H]", "float32", "networks.recurrent", "networks.heads"),
    Key(MASK, "row: [T]", "bool", "replay: True on real steps, False on padding", "losses"),
    Key(ROW, "sampled row: []", "int64", "replay, prioritised: number of the row", "replay"),
    Key(PREVIOUS_ROW_ID, "row: []", "int64", "replay: number of the episode's row before, or -1", "staleness"),
    Key(ENVIRONMENT, "row: []", "int64", "SequenceBuilder: number of the environment", "replay"),
    Key(FOLLOWS, "row: []", "bool", "SequenceBuilder: whether the episode has a row before", "replay"),
    Key(PRIORITY, "row: []", "float32", "replay.actor_rows: NaN where not known", "replay, prioritised"),
    Key(WEIGHT, "sampled row: []", "float32", "replay, prioritised: importance weight", "losses"),
)


class Entry(NamedTuple):
    """Shape, without batch axes, and number type of one entry."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    @property
    def bytes(self) -> int:
        """Size of one."""
        return prod(self.shape) * self.dtype.itemsize

    def zeros(self, *batch: int, device: torch.device | None = None) -> torch.Tensor:
        """Make zeros, [*batch, *shape]."""
        return torch.zeros((*batch, *self.shape), dtype=self.dtype, device=device)


State = tuple[torch.Tensor, ...]  # recurrent, in the order of its schema
Outputs = dict[str, torch.Tensor]  # of a network, by name
Rows: TypeAlias = "TensorDictBase | Mapping[str, torch.Tensor]"  # [B] of a replay, by name
StateSchema = Mapping[str, Entry]  # of a recurrent state, by key; every entry is zero at an episode's start


class Part(NamedTuple):
    """One of several entries that a flat observation holds one after the other, as the environment gives it.

    `kind`: a vector of numbers, an image (whose channels are its axis number `channels`, 0 or 2), or which actions are
    allowed now, a number other than 0 for each of those.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["vector", "image", "mask"] = "vector"
    channels: int = 0


@dataclass(frozen=True)
class Spaces:
    """What a network and a replay must know of an environment, of the family of policies that acts in it, of its loss.

    Attributes:
        observation_shape: of one; images have their channels first, grids of planes as they come.
        observation_dtype: uint8 or float32.
        n_actions: number of discrete actions.
        betas: the arms' weights of the intrinsic reward.
        rescale_eps: ε of the h by which the values are rescaled; 0 for none.
        normalised: whether the network sees observations less their running mean, divided by their deviation.
        planes: axis of the planes of a grid that has three axes, 0 or 2; None for what is no such grid.
        parts: of a flat observation that has images or allowed actions in it, in order; else none.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: torch.dtype
    n_actions: int
    betas: tuple[float, ...] = (0.0,)
    rescale_eps: float = 0.0
    normalised: bool = False
    planes: int | None = None
    parts: tuple[Part, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether an observation is one image [C, H, W]."""
        return len(self.observation_shape) == 3 and self.observation_dtype == torch.uint8 and self.planes is None

    def places(self, *kinds: str) -> list[tuple[Part, slice]]:
        """Say where in a flat observation the parts of these kinds lie."""
        ends = list(accumulate(prod(part.shape) for part in self.parts))
        starts = [0, *ends]
        return [
            (part, slice(first, end))
            for part, first, end in zip(self.parts, starts, ends, strict=False)
            if part.kind in kinds
        ]

    @property
    def allowed(self) -> slice | None:
        """Where a flat observation says which actions are allowed; None where all always are."""
        return next((place for _, place in self.places("mask")), None)

    @property
    def n_arms(self) -> int:
        """Members of the family of policies."""
        return len(self.betas)

    @property
    def observation_size(self) -> int:
        """Number of scalars in one observation."""
        return prod(self.observation_shape)


@dataclass(frozen=True)
class GridMap:
    """A map of `shape` (rows, columns) on which observations have a place.

    `cells` takes observations [M, *shape] and says where each was made, row · columns + column, int64 [M]; −1 where an
    observation does not tell. `goals` are the cells (row, column) that pay in every episode, if there are such.
    """

    shape: tuple[int, int]
    cells: Callable[[torch.Tensor], torch.Tensor]
    goals: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Symmetry:
    """A relabelling of observations and actions that leaves an environment's dynamics and rewards as they are.

    Entry i of a relabelled, flattened observation is entry `observation[i]`; action a becomes `action[a]`.
    """

    observation: tuple[int, ...]
    action: tuple[int, ...]
