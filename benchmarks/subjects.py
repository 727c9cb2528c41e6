"""What is measured: the runs that users start, and data of the shapes that these runs produce."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir
from tensordict import TensorDict, TensorDictParams
from torch import Tensor, nn

from modules import keys
from modules.collect import Collected
from modules.collect.weights import push_weights
from modules.learner.learner import Learner
from modules.process import tune
from modules.replay.ring import refuse_what_does_not_fit
from modules.replay.sequence import SequenceReplay
from modules.seeding import seed_everything
from pipelines.config.check import refuse_misfits
from pipelines.config.hints import CONF
from pipelines.config.schema import RunConfig, read
from pipelines.training.build import Parts, replay_of

PIXELS, STATE, TUTORIAL = "drqn_cartpole", "drqn_cartpole_masked", "drqn_cartpole_tutorial"
R2D2 = "r2d2_cartpole_masked"


def exists(exp: str) -> bool:
    """Tell whether there is a configuration of this name."""
    return (Path(CONF) / "exp" / f"{exp}.yaml").exists()


def run_of(exp: str, *overrides: str) -> RunConfig:
    """Compose, read and check `+exp=<exp>` as `pipelines.train` does; a replay finds its room when it is opened."""
    with initialize_config_dir(CONF, version_base="1.3"):
        run = read(compose("config", [f"+exp={exp}", "logger=none", *overrides]))
    refuse_misfits(run)
    return run


@contextmanager
def process_of(run: RunConfig) -> Iterator[None]:
    """Give this process the settings of the run's own, so that both sides have them; and its seed."""
    before = torch.get_num_threads()
    tune(run.threads)
    seed_everything(run.seed)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Learning:
    """A learner with its network."""

    network: nn.Module
    learner: Learner


def learning(run: RunConfig) -> Learning:
    """Make a run's learner as `pipelines.training.build` does, without environments and replay."""
    network = run.network.build(run.spaces).to(run.torch_device)
    loss = run.loss.build(run.loss_context(network))
    return Learning(network, Learner(network, loss, run.optim, run.target))


class Trainer:
    """Stores collected batches, and learns as often as the replay's ratio asks, as the training loop does."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._frames, self._due = parts, 0, 0.0

    def take(self, collected: Collected) -> None:
        """Store a batch, learn, push the weights."""
        (stream, batch, rows), parts = collected, self._parts
        parts.replay.extend(batch, stream, rows)
        self._frames += batch.numel()
        self._due += parts.replay.updates_due(batch.numel())
        while self._due >= 1 and (sampled := parts.replay.sample()) is not None:
            self._due -= 1
            parts.learner.step(sampled)
        push_weights(parts.learner.network, parts.actor.network)
        parts.collection.push(self._frames)


def set_apart(ours: Learning) -> nn.Module:
    """Let the target prefer what the online network likes least, so that it matters which one is asked; return it."""
    target = copy.deepcopy(ours.network).requires_grad_(False)
    for last in list(target.parameters())[-2:]:
        last.neg_()
    held = ours.learner.loss.target_value_network_params
    assert isinstance(held, TensorDictParams)
    held.data.update_(TensorDict.from_module(target).data)  # pyright: ignore[reportAttributeAccessIssue]
    return target


def observations(run: RunConfig, *shape: int) -> Tensor:
    """Draw observations [*shape, …] of the run's dtype."""
    spaces = run.spaces
    if spaces.observation_dtype == torch.uint8:
        return torch.randint(0, 256, (*shape, *spaces.observation_shape), dtype=torch.uint8)
    return torch.randn(*shape, *spaces.observation_shape)


def random_rows(run: RunConfig) -> TensorDict:
    """Draw one batch of replay rows [B] with every case: padded tails, terminated and running episodes."""
    states, burn_in, batch = run.network.state(), run.replay.burn_in, run.replay.batch_rows
    length, column = run.sequence_schema.slots, torch.arange(run.sequence_schema.slots)
    rows = run.sequence_schema.template(run.spaces).expand(batch).clone()
    learned = run.replay.length
    steps = burn_in + torch.where(torch.arange(batch) % 4 == 3, (learned + 1) // 2, learned)  # every fourth is padded
    rows[keys.OBSERVATION] = observations(run, batch, length + 1)
    rows[keys.ACTION] = torch.randint(run.spaces.n_actions, (batch, length))
    rows[keys.REWARD] = torch.rand(batch, length)
    starts = (torch.arange(batch) % 4 == 2)[:, None] & (column < burn_in)  # a row in front of which nothing was
    rows[keys.MASK] = (column < steps[:, None]) & ~starts
    ends = column == steps[:, None] - 1
    rows[keys.TERMINATED] = ends & (torch.arange(batch) % 2 == 1)[:, None]
    for key, entry in states.items():
        rows[key] = 0.1 * torch.randn(batch, *entry.shape, dtype=entry.dtype)
    for key in run.sequence_schema.first_step_keys:
        steps_before = (batch, length + 1)
        if key == keys.ARM:
            rows[key] = torch.randint(run.spaces.n_arms, (batch, 1)).expand(steps_before).clone()
        else:
            action = key == keys.PREVIOUS_ACTION
            rows[key] = torch.randint(-1, run.spaces.n_actions, steps_before) if action else torch.rand(steps_before)
    for key in run.sequence_schema.step_keys:  # intrinsic rewards, and probabilities of the actions, which are above 0
        rows[key] = 0.1 + 0.9 * torch.rand(batch, length)
    if run.replay.by_priority:
        rows[keys.ROW], rows[keys.WEIGHT] = torch.arange(batch), 0.1 + 0.9 * torch.rand(batch)
    return rows.to(run.torch_device)


def random_stream(run: RunConfig, num_envs: int, steps: int, *, episode: int) -> TensorDict:
    """Draw a batch [N, T] as collectors yield it, with episodes of `episode` steps."""
    sight = observations(run, num_envs, steps + 1)
    column = torch.arange(steps).expand(num_envs, steps).unsqueeze(-1)
    done = column % episode == episode - 1
    states = {
        key: 0.1 * torch.randn(num_envs, steps, *s.shape, dtype=s.dtype) for key, s in run.network.state().items()
    }
    first = column % episode == 0
    for value in states.values():
        value[first.squeeze(-1)] = 0
    return TensorDict(
        {
            keys.OBSERVATION: sight[:, :-1],
            keys.ACTION: torch.randint(run.spaces.n_actions, (num_envs, steps)),
            keys.IS_INIT: first,
            **states,
            keys.PREVIOUS_ACTION: torch.where(first.squeeze(-1), -1, 0),
            keys.PREVIOUS_REWARD: torch.zeros(num_envs, steps),
            "next": {
                keys.OBSERVATION: sight[:, 1:],
                keys.REWARD: torch.rand(num_envs, steps, 1),
                keys.DONE: done,
                keys.TERMINATED: done.clone(),
                keys.TRUNCATED: torch.zeros_like(done),
                keys.IS_INIT: torch.zeros_like(done),
            },
        },
        batch_size=[num_envs, steps],
    )


@contextmanager
def open_replay(run: RunConfig) -> Iterator[SequenceReplay]:
    """Make the run's replay, empty, in a directory that vanishes."""
    with TemporaryDirectory(prefix="recall_benchmark_") as directory:
        refuse_what_does_not_fit(run.replay_bytes, Path(directory))
        replay = replay_of(run, Path(directory), "", None)
        assert isinstance(replay, SequenceReplay)
        yield replay


def fill(replay: SequenceReplay, run: RunConfig, *, episode_rows: int = 1) -> None:
    """Write rows, `episode_rows` to an episode, until the sampler can draw from its whole capacity."""
    envs, episode = 256, run.sequence_schema.overlap + run.sequence_schema.stride * episode_rows
    chunk = random_stream(run, envs, episode, episode=episode)
    while len(replay) < replay.settings.capacity_rows:
        replay.extend(chunk)
