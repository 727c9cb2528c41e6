"""The third phase and the only wiring: specs become live parts, in a fixed order, shared by hand."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from modules import keys
from modules.callbacks import Callbacks, Context, TrainingCallback
from modules.callbacks.base import named_by_class, with_metrics_of
from modules.checkpoint import list_checkpoints, path_of
from modules.collect import Actor, Collection, CollectorContext
from modules.errors import close_quietly
from modules.exploration import Exploration, ExplorationContext
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.learner.learner import Learner
from modules.loggers import Logger, LoggerContext
from modules.metrics import Metric
from modules.process import tune
from modules.replay.base import Replay, ReplayContext
from modules.replay.ring import readable
from modules.seeding import seed_everything, seed_for
from modules.stateful import HasState, Stateful, put_back
from pipelines.agent.actor import TrainingActor, make_actor, worker_actor
from pipelines.agent.agent_env import CPU
from pipelines.agent.described import ACTING
from pipelines.agent.evaluator import Evaluator
from pipelines.agent.policy_card import describe_acting
from pipelines.config.schema import RunConfig
from pipelines.config.sweep_names import job_in
from pipelines.reporting.kinds import without_targets

log = logging.getLogger("recall")
OBSERVATIONS = (keys.OBSERVATION, ("next", keys.OBSERVATION))  # of a step
logging.getLogger("torchrl").setLevel(logging.WARNING)


@dataclass(frozen=True)
class RunIdentity:
    """Which run it is: its settings, its folder, and the id by which its files are recognised.

    `acting` is what one must know of its environment to act with its policy.
    """

    settings: RunConfig
    folder: Path
    id: str
    acting: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the loop works with.

    Attributes:
        identity: of the run.
        actor: of this process, to whose network the loop pushes the newest weights: it acts, or stands for those that
            act in other processes.
        collection: what the actors yield.
        exploration: of all environments of the run.
        evaluator: evaluates and films, with networks and environments of its own.
        replay: what was collected.
        learner: whose network may live on another device.
        auxiliary: what else learns from the same rows.
        logger: where numbers go.
        callbacks: what watches.
    """

    identity: RunIdentity
    actor: TrainingActor
    collection: Collection
    exploration: Exploration
    evaluator: Evaluator
    replay: Replay
    learner: Learner
    auxiliary: IntrinsicModel
    logger: Logger
    callbacks: Callbacks

    @property
    def run(self) -> RunConfig:
        """Settings of the run."""
        return self.identity.settings

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""
        return self.identity.folder

    @property
    def stateful(self) -> dict[str, Any]:
        """What a checkpoint must hold of the parts."""
        return stateful(self.learner, self.replay, self.auxiliary, self.collection, self.evaluator, self.callbacks)

    def policy_state(self, frames: int) -> dict[str, Any]:
        """What the policy can be evaluated by later: a part of each checkpoint, and all of best.pt."""
        return {
            "run_id": self.identity.id,
            "frames": frames,
            "network": self.learner.average.state_dict(),
            "intrinsic_model": self.auxiliary.state_dict(),
            "intrinsic_reward": self.actor.intrinsic_reward.state_dict(),
            "arm": self.evaluator.bandit.greedy(),
            ACTING: self.identity.acting,
        }

    def close(self) -> None:
        """Close environments; the logger is finished by the loop, with its summary."""
        close_quietly("training's environments", self.collection.close)
        close_quietly("the evaluation's environments", self.evaluator.env.close)


def build(
    run: RunConfig,
    run_dir: Path,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None,
    given: Sequence[TrainingCallback] = (),
) -> Parts:
    """Make all parts of a checked run.

    Args:
        run: its settings.
        run_dir: its folder.
        config: the settings as plain values.
        checkpoint: of the run to continue, or None.
        given: callbacks beside those of the settings.
    """
    acting = describe_acting(run)  # first: it makes an environment, and that may draw from the global generators
    tune(run.threads)
    seed_everything(run.seed)
    network = run.network.build(run.spaces)
    copied = copy.deepcopy(network).requires_grad_(False)
    auxiliary = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
    actor = make_actor(run, 0, copied, auxiliary)
    evaluator = Evaluator(run, network, auxiliary, actor.intrinsic_reward)
    run_id = uuid4().hex if checkpoint is None else checkpoint.get("run_id", "")  # "" for one that began without
    replay = replay_of(run, run_dir, run_id, checkpoint)
    network = network.to(run.torch_device)
    learner = Learner(
        network,
        run.loss.build(run.loss_context(network)),
        run.optim,
        run.target,
        metric=run.loss.metric,
        normalise_until=run.env.normalise_until,
    )
    declared = with_metrics_of(given, run.declared)
    callbacks = Callbacks(
        {**callbacks_of(run, learner, replay, evaluator, actor.intrinsic_reward), **named_by_class(given)}, declared
    )
    if checkpoint:  # to be sure of it, before any file of the run is touched; the loop does it when all is made
        state = stateful(learner, replay, auxiliary, Alike(actor), evaluator, callbacks)
        put_back(state, checkpoint, path_of(run_dir / "checkpoints", checkpoint["frames"]))
    logger = logger_of(run, run_dir, config, checkpoint, declared)
    announce(run)
    alone = run.collector.total_envs == run.collector.num_envs
    everywhere = ExplorationContext.all_of(run.collector.total_envs)
    return Parts(
        identity=RunIdentity(run, run_dir, run_id, acting),
        actor=actor,
        collection=collection_of(run, actor, evaluator.env),
        exploration=actor.exploration if alone else run.exploration.build(everywhere),
        evaluator=evaluator,
        replay=replay,
        learner=learner,
        auxiliary=auxiliary,
        logger=logger,
        callbacks=callbacks,
    )


def stateful(
    learner: Learner,
    replay: Replay,
    auxiliary: IntrinsicModel,
    actors: HasState,
    evaluator: Evaluator,
    callbacks: Callbacks,
) -> dict[str, Any]:
    """What a checkpoint must hold of the parts, under the names that it has there, in the order of loading."""
    return {
        "learner": learner,
        "replay": replay,
        "intrinsic_model": auxiliary,
        "actors": actors,
        "evaluation_bandit": evaluator.bandit,
        "callbacks": callbacks,
    }


class Alike(Stateful):
    """Tries what several actors kept on one that is made as they are."""

    def __init__(self, actor: TrainingActor) -> None:
        self._actor = actor

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for kept in state.values():
            self._actor.load_state_dict(kept)


def callbacks_of(
    run: RunConfig, learner: Learner, replay: Replay, evaluator: Evaluator, intrinsic_reward: IntrinsicReward
) -> dict[str, TrainingCallback]:
    """Make the callbacks of the settings that have something to see."""
    context = Context(
        seed=run.seed,
        n_arms=run.spaces.n_arms,
        grid=run.env.agent_map(),
        stride=run.sequence_schema.stride,
        learner=learner,
        replay=replay,
        evaluator=evaluator.bandit,
        intrinsic=intrinsic_reward.measures,
    )
    return {name: spec.build(context) for name, spec in run.watching.items()}


def replay_of(run: RunConfig, run_dir: Path, run_id: str, checkpoint: Mapping[str, Any] | None) -> Replay:
    """Open the replay; raises `UsageError` if rows that `checkpoint` refers to are lost or damaged."""
    folder = run_dir / "checkpoints"
    newer = [path for path in list_checkpoints(folder) if checkpoint and path > path_of(folder, checkpoint["frames"])]
    context = ReplayContext(
        directory=run_dir / "replay",
        spaces=run.spaces,
        schema=run.sequence_schema,
        save_every=run.save_every,
        batch_frames=run.collector.burst,
        seed=seed_for(run.seed, "replay"),
        symmetry=run.env.agent_symmetry(),
        run_id=run_id,
        saved=checkpoint["replay"] if checkpoint else None,
        newer=len(newer),
    )
    return run.replay.build(context)


def logger_of(
    run: RunConfig,
    run_dir: Path,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None,
    declared: Mapping[str, Metric],
) -> Logger:
    """Open the logger where the checkpoint, if there is one, left it."""
    job = job_in(run_dir)
    context = LoggerContext(
        run_dir=run_dir,
        shared=job.shared if job else run_dir,
        config=without_targets(config, type(run)),
        name="-".join(filter(None, (run.name, job and job.variant, f"seed{run.seed}"))),
        group=job.group if job else None,
        frames=checkpoint["frames"] if checkpoint else 0,
        state=checkpoint["logger"] if checkpoint else None,
        metrics=declared.values(),
    )
    return run.logger.build(context)


def announce(run: RunConfig) -> None:
    """Say what the replay takes; only once nothing can be refused any more."""
    log.info(
        "replay: %s on disk %s, %d rows of %d steps; page cache as memory allows",
        readable(run.replay_bytes),
        run.replay.assumption,
        run.replay.capacity_rows,
        run.replay.length,
    )


def collection_of(run: RunConfig, actor: TrainingActor, like: EnvBase) -> Collection:
    """Make the collector; `like` has steps like those of its environments."""
    template = partial(step_of, run, actor, like)
    return run.collector.build(CollectorContext(actor=actor, make=partial(worker_actor, run), template=template))


def step_of(run: RunConfig, actor: Actor, like: EnvBase) -> TensorDictBase:
    """Make a step with what batches have of it; `like` has steps like those of the actor's environments."""
    step = like.fake_tensordict()
    for key in set(actor.policy.out_keys) - set(step.keys(include_nested=True)):
        step.set(key, torch.zeros(step.batch_size))  # what the policy tells of its choice
    if not run.collector.actors_cut:
        return step
    numbers = [key for key, value in step.items(True, True) if value[0].numel() == 1]
    observes = run.spaces.normalised or any(spec.reads_observations for spec in run.watching.values())
    return step.select(*numbers, *OBSERVATIONS) if observes else step.select(*numbers)
