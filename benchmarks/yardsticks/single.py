"""DQN with one environment at a time, as others write it: a plain loop, and Stable-Baselines3."""

from typing import Any

import gymnasium
import numpy as np
import torch

from benchmarks.yardsticks.bare import BareLearner, BareNetwork
from modules import keys
from modules.envs.gym import GymSpec
from modules.exploration import EpsGreedySpec, ExplorationContext
from modules.losses.q import QLossSpec
from modules.networks.heads import QSpec
from modules.networks.torsos import MlpSpec
from modules.replay.specs import SequenceSpec
from modules.spec import UsageError
from pipelines.config.schema import RunConfig

EXP = "dqn_cartpole"
# One-step targets, and batch and period of CleanRL's dqn.py, 128 steps every 10 frames, with what suited them best on
# seeds 20 to 22.
ONE_STEP = (
    "loss=dqn",
    "loss.huber_delta=10",
    "replay.length=1",
    "replay.batch_rows=128",
    "optim.lr=2e-3",
    "target.tau=0.044",
    "optim.ema_decay=0.99",
)
# Further: its squared errors, its copy of the target every 500 frames, its newest weights. With its own learning rate,
# 2.5e-4, 200 000 frames do not suffice.
CLEANRL = ("loss.huber_delta=0", "optim.lr=1e-3", "target.tau=1", "target.period=50", "optim.ema_decay=0")
SB3 = ("optim.lr=1e-3",)
# Names of the sides.
OURS, OURS_ONE_STEP, SINGLE = "ours", "ours, one-step", "single environment"
SINGLE_CLEANRL, STABLE_BASELINES = "single environment, CleanRL's loss", "Stable-Baselines3"


def settings_of(run: RunConfig) -> SequenceSpec:
    """Return the settings of a replay that keeps steps."""
    assert isinstance(run.replay, SequenceSpec)
    return run.replay


def frames_per_update(run: RunConfig) -> float:
    """How many frames are collected for each update."""
    return steps_per_update(run) / settings_of(run).ratio


def steps_per_update(run: RunConfig) -> int:
    """How many steps an update learns from."""
    return run.replay.batch_rows * run.replay.length


def environment(run: RunConfig) -> gymnasium.Env[np.ndarray, Any]:
    """Make one Gymnasium environment of a run.

    Raises:
        UsageError: the run's is none.
    """
    if not isinstance(run.env, GymSpec):
        raise UsageError(f"{run.name}: one environment at a time needs env=gym")
    return gymnasium.make(run.env.id, **run.env.kwargs)


class SingleEnvironment:
    """DQN as CleanRL writes it: one environment, a ring of arrays, an update every few frames."""

    def __init__(self, run: RunConfig) -> None:
        if not isinstance(run.loss, QLossSpec) or run.replay.length != 1 or run.network.memory.state():
            needs = "loss=q or dqn, replay.length=1 and network/memory=none"
            raise UsageError(f"{run.name}: the single-environment loop needs {needs}")
        self.run, self.env = run, environment(run)
        self.exploration = run.exploration.build(ExplorationContext.all_of(1))
        network = run.network.build(run.spaces)
        self.learner, self.judged = BareLearner(run, network, network), BareNetwork(run)
        size, sight = settings_of(run).capacity, run.spaces.observation_shape
        self.sights, self.next_sights = (np.empty((size, *sight), np.float32) for _ in range(2))
        self.actions, self.rewards = np.empty(size, np.int64), np.empty(size, np.float32)
        self.terminated = np.empty(size, bool)
        self.random = np.random.default_rng(run.seed)
        self.sight, _ = self.env.reset(seed=run.seed)
        self.frames, self.updates_due = 0, 0.0

    def train(self, frames: int) -> None:
        """Act for so many frames, and learn as often as the ratio asks once the warm-up is over."""
        every = frames_per_update(self.run)
        for _ in range(frames):
            self.step()
            if self.frames > self.run.warmup_frames:
                self.updates_due += 1 / every
            if self.updates_due >= 1:
                self.updates_due -= 1
                self.learner.step(self.batch())

    def step(self) -> None:
        """Act once and store what came of it."""
        if self.random.random() < self.exploration.anneal(self.frames):
            action = int(self.random.integers(self.run.spaces.n_actions))
        else:
            action = self.best(self.sight)
        after, reward, terminated, truncated, _ = self.env.step(action)
        i = self.frames % len(self.actions)
        self.sights[i], self.next_sights[i], self.terminated[i] = self.sight, after, terminated
        self.actions[i], self.rewards[i] = action, reward
        self.frames += 1
        self.sight = self.env.reset()[0] if terminated or truncated else after

    def best(self, sight: np.ndarray) -> int:
        """Action of the highest value, by the newest weights."""
        with torch.no_grad():
            return best_action(self.learner.online, sight)

    def greedy(self, sight: np.ndarray) -> int:
        """Action of the highest value, by the averaged weights, as ours are evaluated."""
        with torch.no_grad():
            for mine, average in zip(self.judged.parameters(), self.learner.averages, strict=True):
                mine.copy_(average)
            return best_action(self.judged, sight)

    def batch(self) -> dict[str, torch.Tensor]:
        """Draw single steps uniformly, as rows [B] of length 1."""
        size = self.run.replay.batch_rows
        i = self.random.integers(min(self.frames, len(self.actions)), size=size)
        both = np.stack((self.sights[i], self.next_sights[i]), 1)
        return {
            keys.OBSERVATION: torch.from_numpy(both),
            keys.ACTION: torch.from_numpy(self.actions[i])[:, None],
            keys.REWARD: torch.from_numpy(self.rewards[i])[:, None],
            keys.TERMINATED: torch.from_numpy(self.terminated[i])[:, None],
            keys.MASK: torch.ones(size, 1, dtype=torch.bool),
        }

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def best_action(network: BareNetwork, sight: np.ndarray) -> int:
    """Action of the highest value, and so of the highest advantage, for one observation; there is no memory."""
    return int(network.advantage(network.embed(torch.from_numpy(sight)[None])).argmax())


def stable_baselines(run: RunConfig) -> Any:
    """Make Stable-Baselines3's DQN of the same network, ratio, warm-up and ε; its schedules span `total_frames`.

    Raises:
        UsageError: a part of the run that it has not.
    """
    from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]

    torso, head, epsilon, optim = run.network.torso, run.network.head, run.exploration, run.optim
    if not isinstance(torso, MlpSpec) or not isinstance(head, QSpec) or not isinstance(epsilon, EpsGreedySpec):
        raise UsageError(
            f"{run.name}: {STABLE_BASELINES} needs network/torso=mlp, network/head=q and exploration=eps_greedy"
        )
    every = frames_per_update(run)
    return DQN(
        "MlpPolicy",
        environment(run),
        learning_rate=optim.lr,
        gamma=run.loss.gamma,
        batch_size=run.replay.batch_rows,
        train_freq=round(every),
        target_update_interval=round(2 * every * run.target.period / run.target.tau),  # a copy's mean age is half of it
        learning_starts=run.warmup_frames,
        exploration_initial_eps=epsilon.start,
        exploration_final_eps=epsilon.end,
        exploration_fraction=epsilon.anneal_frames / run.total_frames,
        buffer_size=settings_of(run).capacity,
        policy_kwargs={"net_arch": [*torso.hidden, torso.out_features, *head.hidden]},
        device=run.torch_device,
        seed=run.seed,
    )
