"""Small worlds as pure functions on tensors, many episodes at once, and the TorchRL environment around them."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Categorical, Composite, Unbounded, UnboundedDiscrete
from torchrl.envs import EnvBase, TransformedEnv

from modules import keys
from modules.envs.base import EnvContext, EnvSpec, add_transforms
from modules.keys import Spaces
from modules.spec import spec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

State = dict[str, Tensor]  # every entry [N, …]: row n is all that episode n needs
UP, LEFT, DOWN, RIGHT = range(4)  # headings
NOTHING, HIT, FOUND = 0, 1, 2  # what the last step did, for pictures
FPS = 5  # of films: each step is a decision to follow


class World(Protocol):
    """Rules of N independent episodes; `step` and `observe` draw nothing and keep nothing.

    Every number of an observation lies within `bounds`, both ends included.
    """

    spaces: Spaces
    bounds: tuple[float, float]

    def seed(self, seed: int) -> None:
        """Start the random stream from which `start` draws."""

    def start(self, n: int) -> State:
        """Begin `n` episodes."""
        ...

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Act [N] in a state: the next state (the old one must not be used again), reward, terminated, truncated."""
        ...

    def observe(self, state: State) -> Tensor:
        """What the agents see, [N, *shape]."""
        ...


class SmallWorld:
    """What most worlds share: a random stream, from which `start` draws."""

    def __init__(self, spaces: Spaces, *, bounds: tuple[float, float], device: torch.device | str) -> None:
        self.spaces, self.bounds, self.device = spaces, bounds, torch.device(device)
        self._generator = torch.Generator(self.device)
        self.seed(0)

    def seed(self, seed: int) -> None:
        self._generator.manual_seed(seed)

    def _draw(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers below `high`."""
        return torch.randint(high, shape, generator=self._generator, device=self.device)

    def _all(self, n: int, value: int) -> Tensor:
        """The same integer for every episode, [n]."""
        return torch.full((n,), value, dtype=torch.int64, device=self.device)


def one_hot(index: Tensor, size: int) -> Tensor:
    """Rows with a 1 at `index`, [N, size] of uint8; all 0 where the index is too large."""
    return (index.unsqueeze(1) == torch.arange(size, device=index.device)).to(torch.uint8)


class WorldEnv(EnvBase):
    """N episodes of a world that step together."""

    def __init__(self, world: World, num_envs: int, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        super().__init__(device=device, batch_size=torch.Size((num_envs,)))
        self.world = world
        self.state: State = {}
        n, spaces = num_envs, world.spaces
        shape = torch.Size((n, *spaces.observation_shape))
        seen = UnboundedDiscrete if spaces.observation_dtype == torch.uint8 else Unbounded
        self.observation_spec = Composite(
            {keys.OBSERVATION: seen(shape, dtype=spaces.observation_dtype)}, shape=(n,), device=device
        )
        self.action_spec = Categorical(spaces.n_actions, shape=torch.Size((n,)), device=device)
        self.reward_spec = Unbounded(torch.Size((n, 1)), device=device)
        flag = Binary(n=1, shape=torch.Size((n, 1)), dtype=torch.bool, device=device)
        names = (keys.DONE, keys.TERMINATED, keys.TRUNCATED)
        self.done_spec = Composite({name: flag.clone() for name in names}, shape=(n,), device=device)
        self._never = torch.zeros(n, 1, dtype=torch.bool, device=device)

    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        del kwargs
        which = None if tensordict is None else tensordict.get("_reset", None)
        if which is None or not self.state or which.all():
            self.state = self.world.start(self.batch_size[0])
        else:
            index = which.reshape(-1).nonzero().squeeze(-1)
            for key, fresh in self.world.start(len(index)).items():
                self.state[key][index] = fresh
        done = {name: self._never.clone() for name in (keys.DONE, keys.TERMINATED, keys.TRUNCATED)}
        return self._pack({keys.OBSERVATION: self.world.observe(self.state), **done})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        self.state, reward, terminated, truncated = self.world.step(self.state, tensordict[keys.ACTION])
        return self._pack(
            {
                keys.OBSERVATION: self.world.observe(self.state),
                keys.REWARD: reward.unsqueeze(-1),
                keys.DONE: (terminated | truncated).unsqueeze(-1),
                keys.TERMINATED: terminated.unsqueeze(-1),
                keys.TRUNCATED: truncated.unsqueeze(-1),
            }
        )

    def _pack(self, fields: dict[str, Tensor]) -> TensorDict:
        return TensorDict(fields, batch_size=self.batch_size, device=self.device)  # pyright: ignore[reportArgumentType]

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self.world.seed(seed)


@spec
class WorldSpec(EnvSpec):
    """Settings of a world; those that are not null replace parts of a task's rules, a dataclass `replaces`, if any."""

    replaces: ClassVar[type | None] = None
    world_class: ClassVar[type[Any]]  # of the rules, which are made of these settings

    def world(self, device: torch.device | str = "cpu") -> World:
        """Make the rules; raises `UsageError` for settings under which no episode can be played."""
        return self.world_class(self, device=device)

    def spaces(self) -> Spaces:
        return self.world().spaces

    def build(self, context: EnvContext) -> TransformedEnv:
        return add_transforms(WorldEnv(self.world(), context.num_envs), self, context.transforms)

    def picture(self, env: EnvBase) -> np.ndarray:
        from modules.envs.rendering import picture  # which imports the worlds

        base = world_env(env)
        return picture(base.world, base.state, 0)

    def film_problem(self) -> str:
        from modules.envs.rendering import picture

        drawn = picture.dispatch(type(self.world())) is not picture.dispatch(object)
        return "" if drawn else "no picture of this world is registered (modules/envs/rendering)"

    def video_fps(self) -> int:
        return FPS

    def text(self, env: EnvBase) -> str:
        from modules.envs.rendering import text

        base = world_env(env)
        return text(base.world, base.state, 0)


Rules = TypeVar("Rules", bound="DataclassInstance")


def replace_rules(rules: Rules, settings: WorldSpec) -> Rules:
    """Replace every field of a task's `rules` for which the setting of the same name is not null."""
    changes = {field.name: getattr(settings, field.name) for field in fields(rules)}
    return replace(rules, **{name: value for name, value in changes.items() if value is not None})


def world_env(env: EnvBase) -> WorldEnv:
    """Find the world's environment inside TorchRL's wrappers."""
    base = env.base_env if isinstance(env, TransformedEnv) else env
    assert isinstance(base, WorldEnv)
    return base
