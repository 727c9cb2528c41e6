"""Section about whole training of DQN: many environments at once against one at a time."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import gymnasium
import numpy as np
import torch

from modules import keys
from modules.envs.gym import GymSpec
from modules.losses.q import QLossSpec
from modules.networks.heads import QSpec
from modules.networks.torsos import MlpSpec
from modules.replay.specs import SequenceSpec
from modules.spec import UsageError
from pipelines.benchmarks.acting import built
from pipelines.benchmarks.bare import BareLearner
from pipelines.benchmarks.measure import Missing, Pace, Table, interleave, number, target
from pipelines.benchmarks.subjects import process_of, run_of
from pipelines.build import Parts
from pipelines.loop import push_weights
from pipelines.schema import Run

EXP = "dqn_cartpole"
BATCH = (
    128  # of the single-environment sides: CleanRL's dqn.py learns from 128 steps every 10 frames, which is our ratio
)
LARGE = 4  # times as many steps in an update, and a quarter of the updates
SINGLE, OURS_LARGE = "single environment", "ours, larger batches"
TITLE = "Whole training of DQN against one environment at a time"
Call = Callable[[], object]


def dqn(pace: Pace) -> Iterator[Table | Missing]:
    """Frames/s of DQN's training with 64 environments against one environment at a time, as others do it."""
    run, large = run_of(EXP), run_of(EXP, f"replay.batch_rows={LARGE * BATCH}")
    with process_of(run), built(run) as parts, built(large) as parts_large:
        single = SingleEnvironment(run, parts)
        sides: dict[str, Call] = {"ours": training(parts), OURS_LARGE: training(parts_large), SINGLE: single.train}
        if find_spec("stable_baselines3"):
            sides["Stable-Baselines3"] = stable_baselines(run)
        else:
            yield Missing(TITLE, "Stable-Baselines3 is not installed, which Recall does not need: it has no row.")
        times = interleave(sides, pace)
        single.close()
    frames, rows = run.collector.frames_per_batch, []
    for side in sides:
        mine, batch = side in ("ours", OURS_LARGE), BATCH * (LARGE if side == OURS_LARGE else 1)
        ratio = times.speed(OURS_LARGE, side)
        compared = ["–"] * 3 if mine else [str(times.speed("ours", side)), str(ratio), target(ratio, 5)]
        every = number(batch / settings_of(run).ratio)
        envs = run.collector.num_envs if mine else 1
        speed = number(frames / times.median(side))
        rows.append([side, str(envs), f"{batch} every {every} frames", speed, *compared])
    yield Table(
        TITLE,
        [
            "side",
            "environments",
            "learned steps",
            "frames/s",
            "ours is faster (min–max)",
            "with larger batches",
            "target",
        ],
        rows,
        notes=[
            f"All: the network of +exp={EXP}, {settings_of(run).ratio:g} learned steps per collected step, its last ε.",
            "Single environment: a plain loop as CleanRL's dqn.py, with our maths; a ring of NumPy arrays.",
        ],
    )


def settings_of(run: Run) -> SequenceSpec:
    """Return the settings of a replay that keeps steps."""
    assert isinstance(run.replay, SequenceSpec)
    return run.replay


def training(parts: Parts) -> Call:
    """Return: collect one batch, store it, learn as often as the replay's ratio asks, push the weights."""
    parts.exploration.anneal(parts.run.total_frames)
    batches, owed = iter(parts.collection), [0.0]

    def call() -> None:
        stream, batch = next(batches)
        parts.replay.extend(batch, stream)
        owed[0] += parts.replay.updates_owed(batch.numel())
        while owed[0] >= 1:
            owed[0] -= 1
            parts.learner.step(parts.replay.sample())
        push_weights(parts.learner.network, parts.acting)

    return call


class SingleEnvironment:
    """DQN as CleanRL writes it: one environment, a ring of arrays, an update every few frames."""

    def __init__(self, run: Run, parts: Parts) -> None:
        if not isinstance(run.env, GymSpec) or not isinstance(run.loss, QLossSpec) or run.loss.n_step != 1:
            raise UsageError(f"{run.name}: the single-environment loop needs env=gym and one-step targets")
        replay = settings_of(run)
        self.run, self.ratio, self.epsilon = run, replay.ratio, parts.exploration.anneal(run.total_frames)
        self.env = gymnasium.make(run.env.id, **run.env.kwargs)
        self.learner = BareLearner(run, parts.acting, parts.acting)
        size = replay.capacity
        sight = run.spaces.observation_shape
        self.sights, self.next_sights = (np.empty((size, *sight), np.float32) for _ in range(2))
        self.actions, self.rewards = np.empty(size, np.int64), np.empty(size, np.float32)
        self.terminated = np.empty(size, bool)
        self.random = np.random.default_rng(run.seed)
        self.sight, _ = self.env.reset(seed=run.seed)
        self.frames, self.owed = 0, 0.0

    def train(self) -> None:
        """Act and learn for as many frames as one batch of ours has."""
        for _ in range(self.run.collector.frames_per_batch):
            self.step()
            self.owed += self.ratio / BATCH
            if self.owed >= 1 and self.frames >= BATCH:
                self.owed -= 1
                self.learner.step(self.batch())

    def step(self) -> None:
        """Act once and store what came of it."""
        if self.random.random() < self.epsilon:
            action = int(self.random.integers(self.run.spaces.n_actions))
        else:
            with torch.no_grad():
                seen = {keys.OBSERVATION: torch.from_numpy(self.sight)[None, None]}
                action = int(self.learner.online(seen, slice(None), ())[0].argmax())
        after, reward, terminated, truncated, _ = self.env.step(action)
        i = self.frames % len(self.actions)
        self.sights[i], self.next_sights[i], self.terminated[i] = self.sight, after, terminated
        self.actions[i], self.rewards[i] = action, reward
        self.frames += 1
        self.sight = self.env.reset()[0] if terminated or truncated else after

    def batch(self) -> dict[str, torch.Tensor]:
        """Draw single steps uniformly, as rows [B] of length 1."""
        i = self.random.integers(min(self.frames, len(self.actions)), size=BATCH)
        both = np.stack((self.sights[i], self.next_sights[i]), 1)
        return {
            keys.OBSERVATION: torch.from_numpy(both),
            keys.ACTION: torch.from_numpy(self.actions[i])[:, None],
            keys.REWARD: torch.from_numpy(self.rewards[i])[:, None],
            keys.TERMINATED: torch.from_numpy(self.terminated[i])[:, None],
            keys.MASK: torch.ones(BATCH, 1, dtype=torch.bool),
        }

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def stable_baselines(run: Run) -> Call:
    """Make Stable-Baselines3's DQN of the same network and ratio; return its training for one batch of frames."""
    from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]

    torso, head, replay = run.network.torso, run.network.head, settings_of(run)
    if not isinstance(run.env, GymSpec) or not isinstance(torso, MlpSpec) or not isinstance(head, QSpec):
        raise UsageError(f"{run.name}: Stable-Baselines3 needs env=gym, network/torso=mlp and network/head=q")
    model = DQN(
        "MlpPolicy",
        gymnasium.make(run.env.id, **run.env.kwargs),
        batch_size=BATCH,
        train_freq=round(BATCH / replay.ratio),
        learning_starts=BATCH,
        buffer_size=replay.capacity,
        policy_kwargs={"net_arch": [*torso.hidden, torso.out_features, *head.hidden]},
        device=run.torch_device,
        seed=run.seed,
    )
    frames = run.collector.frames_per_batch
    return lambda: model.learn(frames, reset_num_timesteps=False)
