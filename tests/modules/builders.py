"""Small parts that several tests of the core share."""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule

from modules import keys
from modules.collect import Actor
from modules.envs.base import UNCHANGED
from modules.envs.gym import GymSpec
from modules.keys import Entry, Spaces
from modules.learner.target import TargetSpec
from modules.losses.base import LossContext
from modules.losses.q import QLossSpec
from modules.networks.context import PartContext
from modules.networks.heads import QSpec
from modules.networks.inputs import InputsSpec
from modules.networks.linear_recurrent import LruSpec, MinGruSpec
from modules.networks.recurrent import GRU_STATE, GruSpec, LstmSpec, MemorySpec, NoMemorySpec
from modules.networks.spec import NetworkSpec
from modules.networks.torsos import MlpSpec
from modules.optim import AdamSpec

MEMORIES: dict[str, MemorySpec] = {
    "lstm": LstmSpec(name="lstm", hidden_size=5, layers=1),
    "gru": GruSpec(name="gru", hidden_size=4, layers=2),
    "mingru": MinGruSpec(name="mingru", hidden_size=4, layers=2),
    "lru": LruSpec(name="lru", hidden_size=4, layers=2, r_min=0.5, r_max=0.9, max_phase=3.0),
    "none": NoMemorySpec(name="none"),
}


NO_INPUTS = InputsSpec(previous_action=False, previous_reward=False, previous_intrinsic=False, arm=False)


def network_spec(
    memory: str,
    *,
    previous: bool = False,
    family: bool = False,
    streams: Literal["one", "two"] = "one",
    combine: Literal["sum", "rescaled"] = "sum",
) -> NetworkSpec:
    """`previous`: action and reward are inputs; `family`: those, the intrinsic reward and the arm."""
    torso = MlpSpec(out_features=6, hidden=(), activation="tanh", norm="none", bias=True, init="default")
    before = previous or family
    inputs = InputsSpec(previous_action=before, previous_reward=before, previous_intrinsic=family, arm=family)
    return NetworkSpec(
        span=0,
        streams=streams,
        combine=combine,
        torso=torso,
        inputs=inputs,
        memory=MEMORIES[memory],
        head=QSpec(hidden=(7,), bias=True, init="default"),
    )


def sharpen(network: torch.nn.Module) -> None:
    """Make the weights so large that each input, and what is remembered of it, shows in the values."""
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(2.0)


def loss_context(network: Any, burn_in: int = 0, *, gamma: float = 0.9) -> LossContext:
    """Of a loss on rows without arms."""
    return LossContext(network=network, burn_in=burn_in, beta=torch.zeros(1), gamma=torch.tensor([gamma]))


def part(in_features: int, n_actions: int, span: int = 0) -> PartContext:
    """Of a memory or a head behind `in_features`."""
    spaces = Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=n_actions)
    return PartContext(spaces=spaces, in_features=in_features, span=span)


def q_settings(
    *, gamma: float = 0.9, n_step: int = 1, double: bool = True, huber_delta: float = 1.0, rescale_eps: float = 0.0
) -> QLossSpec:
    return QLossSpec(gamma=gamma, n_step=n_step, double=double, huber_delta=huber_delta, rescale_eps=rescale_eps)


def adam(*, lr: float = 1e-2, max_grad_norm: float = 10.0, lr_decay: float = 1.0, ema_decay: float = 0.8) -> AdamSpec:
    return AdamSpec(
        lr=lr,
        lr_decay=lr_decay,
        lr_decay_frames=100,
        eps=1e-8,
        betas=(0.9, 0.999),
        max_grad_norm=max_grad_norm,
        ema_decay=ema_decay,
    )


def followed(*, tau: float = 0.1, period: int = 1) -> TargetSpec:
    return TargetSpec(tau=tau, period=period)


def random_rows(steps: Sequence[int], length: int, spaces: Spaces, memory: str, burn_in: int = 0) -> TensorDict:
    """Rows [B] as the replay yields them: `steps[b]` real steps, the last one terminal in every second row.

    With burn-in, it is padding in every third row.
    """
    batch = len(steps)
    counts = torch.tensor(steps) + burn_in
    length += burn_in
    column = torch.arange(length)
    mask = (column < counts[:, None]) & ((column >= burn_in) | (torch.arange(batch) % 3 != 0)[:, None])
    observation = torch.randn(batch, length + 1, *spaces.observation_shape)
    terminated = torch.zeros(batch, length, dtype=torch.bool)
    for b, count in enumerate(counts.tolist()):
        observation[b, count + 1 :] = observation[b, count]
        terminated[b, count - 1 :] = b % 2 == 0
    return TensorDict(
        {
            keys.OBSERVATION: observation,
            keys.ACTION: torch.randint(spaces.n_actions, (batch, length)),
            keys.REWARD: 3 * torch.randn(batch, length),
            keys.TERMINATED: terminated,
            keys.MASK: mask,
            **{key: torch.randn(batch, *entry.shape) for key, entry in network_spec(memory).state().items()},
            keys.PREVIOUS_ACTION: torch.randint(-1, spaces.n_actions, (batch, length + 1)),
            keys.PREVIOUS_REWARD: torch.randn(batch, length + 1),
        },
        batch_size=[batch],
    )


STATE = GRU_STATE[0]


def stream(episodes: Sequence[Sequence[int]]) -> TensorDict:
    """Make a batch [N, S] like the collector's from the lengths of each environment's episodes.

    Observations tell where they come from: 10 000 · environment + 100 · episode + step; the reward is the
    observation's negative, and the state that the agent had at a step its observation plus a half. Episodes with
    an odd number terminate, the others are truncated; the last one still runs.
    """
    columns = min(map(sum, episodes))
    data = torch.zeros(len(episodes), columns, 4)  # observation, next observation, terminated, done
    for env, lengths in enumerate(episodes):
        steps = [(number, i, i + 1 == n) for number, n in enumerate(lengths) for i in range(n)][:columns]
        running = steps[-1][0]
        for t, (number, i, last) in enumerate(steps):
            here = 10_000 * env + 100 * number + i
            ended = last and number != running
            data[env, t] = torch.tensor([here, here + 1, ended and number % 2 == 1, ended])
    observation, after, terminated, done = data.unsqueeze(-1).unbind(2)
    return TensorDict(
        {
            keys.OBSERVATION: observation,
            keys.ACTION: observation.squeeze(-1).long() % 7,
            STATE: (observation + 0.5).unsqueeze(-1),
            "next": {
                keys.OBSERVATION: after,
                keys.REWARD: -observation,
                keys.TERMINATED: terminated.bool(),
                keys.TRUNCATED: done.bool() & ~terminated.bool(),
                keys.DONE: done.bool(),
            },
        },
        batch_size=[len(episodes), columns],
    )


STREAM_SPACES = Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=7)
STREAM_STATES = {STATE: Entry((1, 1))}


class Parity(gymnasium.Env):
    """Episodes of 1 step under an even seed, of 10 under an odd one; the return is the length.

    Vectorised environments get consecutive seeds, so every second one is ten times as slow.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.length = 1
        self.left = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.length = 10 if seed % 2 else 1
        self.left = self.length
        return np.array([self.left, 0.1]), {}

    def step(self, action):
        self.left -= 1
        return np.array([self.left, 0.1]), 1.0, self.left == 0, False, {}


if "Parity-v0" not in gymnasium.registry:
    gymnasium.register("Parity-v0", Parity)


# Of frames that are seen as they are.
FRAMES: dict[str, Any] = {**UNCHANGED, "max_steps": None, "flicker": 0.0, "wrappers": ()}


def gym_spec(env_id: str, keep: tuple[int, ...] | None = None, **kwargs: object) -> GymSpec:
    return GymSpec(
        id=env_id, kwargs=kwargs, wrappers=(), keep=keep, channels=None, max_steps=None, action_mask="none", **UNCHANGED
    )


def always(action: int) -> TensorDictModule:
    """Make a policy that ignores what it sees."""
    return TensorDictModule(
        lambda observation: torch.full(observation.shape[:1], action), [keys.OBSERVATION], [keys.ACTION]
    )


def actor_in(env: Any, policy: Any) -> Actor:
    """Make an actor of a policy in environments that are there already."""
    return Actor(env=lambda: env, policy=policy, networks=[], anneal=lambda frames: None)
