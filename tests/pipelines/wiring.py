"""A tiny run of the real loop with everything written down, and a naive learner that does the same by hand."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from modules import keys
from modules.loggers import Progress
from pipelines.agent import evaluator as greedy
from pipelines.config.composing import compose_settings
from pipelines.config.schema import RunConfig, read
from pipelines.training.build import build
from pipelines.training.loop import Loop


class Lottery(gymnasium.Env):
    """Episodes of 2 to 6 steps whose observations and rewards are drawn; every second one is cut off, not over."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(2, 7))
        self.cut = bool(self.np_random.integers(2))
        return self.seen(), {}

    def step(self, action):
        self.left -= 1
        ends = self.left == 0
        return self.seen(), float(self.np_random.normal()), ends and not self.cut, ends and self.cut, {}

    def seen(self):
        return self.np_random.normal(size=3).astype(np.float32)


if "Lottery-v0" not in gymnasium.registry:
    gymnasium.register("Lottery-v0", Lottery)

SMALL = (
    "+debug=smoke", "env=gym", "env.id=tests.pipelines.wiring:Lottery-v0", "logger=none", "video=false",
    "total_frames=360", "warmup_frames=72", "eval_every=120", "eval_episodes=3", "log_every=120", "save_every=120",
    "keep_checkpoints=99", "collector.num_envs=3", "collector.steps=8", "replay.length=4", "replay.burn_in=2",
    "replay.overlap=1", "replay.batch_rows=3", "replay.ratio=1.3", "optim.lr=0.01", "optim.lr_decay=0.1",
    "optim.lr_decay_frames=300", "optim.ema_decay=0.7",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What was collected: data [N, T], frames before it, the weights that acted, rows in the replay after it."""

    data: Any
    frames: int
    weights: Tensor
    rows: int


@dataclass(frozen=True, kw_only=True)
class Update:
    """What was learned from, at which frame, the measures, and for which frame the replay was annealed last."""

    rows: Any
    frames: int
    measures: dict[str, float]
    annealed: int


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Episodes without exploration: frame, weights, the arms that acted, returns, and what the evaluator was told."""

    frames: int
    weights: Tensor
    arms: set[int]
    returns: list[float]
    told: list[tuple[int, float]]


@dataclass
class Recording:
    """A run from beginning to end. `events` are in the order in which they came; `told` is what the bandits heard."""

    run: RunConfig
    folder: Any
    network: Any  # as it was at the start
    events: list[Batch | Update | Episodes] = field(default_factory=list)
    told: list[tuple[int, int, float]] = field(default_factory=list)  # environment, arm, return
    curious: list[Any] = field(default_factory=list)  # rows that novelty learned from
    updates: int = 0

    def all(self, kind: type) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def vector(network: Any) -> Tensor:
    """All weights in one vector."""
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def recorded(folder: Any, *words: str) -> Recording:
    """Run the loop to its end, everything built as always, and listen to the parts."""
    run = read(compose_settings((*words[:1], *SMALL, *words[1:]))[0])
    parts = build(run, folder, {}, None)
    kept = Recording(run, folder, copy.deepcopy(parts.learner.network))
    loop = Loop(parts, Progress(run.total_frames, 0, bar=False))
    extend, step, anneal = parts.replay.extend, parts.learner.step, parts.replay.anneal
    told, hears = parts.actor.meta.update, parts.evaluator.bandit.update
    learned, run_episodes = parts.auxiliary.step, greedy.run_episodes
    heard: list[tuple[int, float]] = []
    annealed = [-1]

    def extended(batch, stream=0, rows=None):
        extend(batch, stream, rows)
        now = {"frames": loop.counters.frames - batch.numel(), "weights": vector(parts.actor.network)}
        kept.events.append(Batch(**now, data=batch.clone(), rows=len(parts.replay)))

    def annealing(frames):
        annealed[0] = frames
        anneal(frames)

    def stepped(rows):
        before, at = rows.clone(), annealed[0]
        measures, errors = step(rows)
        numbers = {name: float(value) for name, value in measures.items()}
        kept.events.append(Update(rows=before, frames=loop.counters.frames, measures=numbers, annealed=at))
        return measures, errors

    def tell(which, arms, returns):
        kept.told.extend(zip(which.tolist(), arms.tolist(), returns.tolist(), strict=True))
        told(which, arms, returns)

    def learn(rows):
        kept.curious.append(rows.clone())
        return learned(rows)

    def hear(which, arms, returns):
        heard.extend(zip(arms.tolist(), returns.tolist(), strict=True))
        return hears(which, arms, returns)

    def watched(env, policy, **settings):
        heard.clear()
        arms: set[int] = set()

        def acts(td):
            arms.update(td.get(keys.ARM, torch.zeros(0)).tolist())
            return policy(td)

        found = run_episodes(env, acts, **settings)
        now = {"frames": loop.counters.frames, "weights": vector(parts.evaluator.network), "arms": arms}
        kept.events.append(Episodes(**now, returns=found.returns, told=list(heard)))
        return found

    parts.replay.extend, parts.learner.step, parts.replay.anneal = extended, stepped, annealing
    parts.actor.meta.update, parts.auxiliary.step, parts.evaluator.bandit.update = tell, learn, hear
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy, "run_episodes", watched)
        loop.train()
    parts.close()
    kept.updates = parts.learner.updates
    return kept


class Naive:
    """Learns as the settings say, in plain PyTorch; each arm with its own β and γ."""

    def __init__(self, recording: Recording, gammas: Tensor, betas: Tensor) -> None:
        run = self.run = recording.run
        self.newest, self.average = copy.deepcopy(recording.network), copy.deepcopy(recording.network)
        self.loss: Any = run.loss.build(replace(run.loss_context(self.newest), beta=betas, gamma=gammas))
        s = run.optim
        self.adam = torch.optim.Adam(self.newest.parameters(), betas=s.betas, eps=s.eps, fused=True)
        self.updates = 0

    def learn(self, rows: Any, frames: int) -> float:
        """Make one update at frame `frames`; return the loss before it."""
        s = self.run.optim
        loss = self.loss(rows)["loss"]
        self.adam.zero_grad()
        loss.backward()
        for stream in getattr(self.newest, "independent", [self.newest]):
            torch.nn.utils.clip_grad_norm_(stream.parameters(), s.max_grad_norm)
        done = min(1.0, frames / s.lr_decay_frames)
        self.adam.param_groups[0]["lr"] = s.lr * (1 - done) + s.lr * s.lr_decay * done
        self.adam.step()
        self.updates += 1
        params = self.loss.value_network_params.flatten_keys(".")
        if self.updates % self.run.target.period == 0:
            for name, target in self.loss.target_value_network_params.flatten_keys(".").items():
                target.data.copy_(target.data + self.run.target.tau * (params[name].data - target.data))
        with torch.no_grad():
            for mean, p in zip(self.average.parameters(), self.newest.parameters(), strict=True):
                mean.copy_(p if self.updates == 1 else s.ema_decay * mean + (1 - s.ema_decay) * p)
        return loss.item()
