"""The third phase and the only wiring: specs become live parts, in a fixed order, shared by hand."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchrl.envs import EnvBase

from modules.collect import Actor, Collection, MultiAsyncSpec, SyncSpec
from modules.exploration import Exploration
from modules.intrinsic import Curiosity
from modules.learner import Learner
from modules.loggers import ArmTally, Logger
from modules.meta import Meta
from modules.networks.nets import Policy
from modules.process import tune
from modules.replay.base import Replay
from modules.replay.on_policy import OnPolicyReplay, OnPolicySpec
from modules.replay.ring import GIB
from modules.replay.sequence import SequenceReplay
from modules.replay.specs import SequenceSpec
from modules.seeding import seed_everything, seed_for
from modules.visits import Visits
from pipelines.around import Surroundings, greedy_surroundings
from pipelines.schema import Run

CPU = torch.device("cpu")  # where environments and what surrounds them live
EVAL_ENVS = 16  # at most; more would idle while the longest episode ends

log = logging.getLogger("recall")
logging.getLogger("torchrl").setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the loop works with.

    The learner's network may live on another device. `acting` and `evaluated` are copies on the CPU, beside the
    environments: the loop pushes the newest weights to the first, on which `policy` acts and explores, and the
    averaged ones to the second, on which `greedy` acts when it is evaluated or filmed. `around` is what novelty and
    family add to the environments that are learned from; evaluations have copies, `evaluated_curiosity` and
    `eval_around`, so that they leave no trace; `evaluator` chooses the arm that is evaluated.
    """

    run: Run
    run_dir: Path
    acting: nn.Module
    evaluated: nn.Module
    policy: Policy
    greedy: Policy
    exploration: Exploration
    collection: Collection
    curiosity: Curiosity
    around: Surroundings
    evaluated_curiosity: Curiosity
    eval_around: Surroundings
    evaluator: Meta
    eval_env: EnvBase
    replay: Replay
    learner: Learner
    logger: Logger
    arms: ArmTally
    visits: Visits

    @property
    def stateful(self) -> dict[str, Any]:
        """What a checkpoint must hold of the parts, under the names that it has there, in the order of loading."""
        return {
            "learner": self.learner,
            "replay": self.replay,
            "curiosity": self.curiosity,
            "bonus": self.around.bonus,
            "meta": self.around.meta,
            "evaluator": self.evaluator,
            "arms": self.arms,
            "visits": self.visits,
        }

    def close(self) -> None:
        """Close environments; the logger is finished by the loop, with its summary."""
        self.collection.close()
        self.eval_env.close()


def build(run: Run, run_dir: Path, config: Mapping[str, Any], checkpoint: Mapping[str, Any] | None) -> Parts:
    """Make all parts of a checked run; `checkpoint` is that of the run to go on with, or None."""
    tune(run.threads)
    seed_everything(run.seed)
    device, spaces = run.torch_device, run.spaces

    network = run.network.build(spaces)
    acting, evaluated = (copy.deepcopy(network).requires_grad_(False) for _ in range(2))
    evaluated.eval()
    network = network.to(device)
    exploration = run.exploration.build(run.collector.total_envs)
    probability = exploration.probability if run.loss.reads_behaviour else None
    policy = Policy(acting, exploration.choose, probability)
    curiosity, evaluated_curiosity = (run.intrinsic.build(spaces, CPU) for _ in range(2))
    around = Surroundings(
        run=run,
        bonus=curiosity.acting(run.collector.num_envs),
        meta=run.meta.build(run.collector.num_envs, seed=seed_for(run.seed, "meta")),
    )
    eval_envs = min(run.eval_episodes, EVAL_ENVS)
    evaluator = run.meta.build_evaluator(eval_envs, seed=seed_for(run.seed, "evaluator"))
    eval_around = greedy_surroundings(run, evaluated_curiosity, eval_envs, like=around.bonus, meta=evaluator)
    eval_env = eval_around.build(eval_envs)
    replay = replay_of(run, run_dir)
    learner = Learner(network, run.loss.build(network, run.rows), run.optim)
    logger = run.logger.build(
        run_dir,
        config=config,
        name=f"{run.name}-seed{run.seed}",
        frames=checkpoint["frames"] if checkpoint else 0,
        state=checkpoint["logger"] if checkpoint else None,
        family=not run.meta.single,
    )
    announce(run)
    untouched = around.meta.state_dict()
    collected = collection(run, acting, policy, around, eval_env)
    around.meta.load_state_dict(untouched)  # a collector resets its environments as it is made: no episode comes of it
    return Parts(
        run=run,
        run_dir=run_dir,
        acting=acting,
        evaluated=evaluated,
        policy=policy,
        greedy=Policy(evaluated),
        exploration=exploration,
        collection=collected,
        curiosity=curiosity,
        around=around,
        evaluated_curiosity=evaluated_curiosity,
        eval_around=eval_around,
        evaluator=evaluator,
        eval_env=eval_env,
        replay=replay,
        learner=learner,
        logger=logger,
        arms=ArmTally(run.spaces.n_arms),
        visits=Visits(run.env.grid_map()),
    )


def replay_of(run: Run, run_dir: Path) -> Replay:
    """Open the replay."""
    if isinstance(run.replay, OnPolicySpec):
        return OnPolicyReplay(run.replay, run.layout)
    assert isinstance(run.replay, SequenceSpec)
    return SequenceReplay(
        run.replay,
        run_dir / "replay",
        run.spaces,
        run.network.states(),
        save_every=run.save_every,
        batch_frames=run.collector.frames_per_batch,
        seed=seed_for(run.seed, "replay"),
        reads=run.layout.further,
        extra=run.layout.extra,
        symmetry=run.env.symmetry(),
    )


def announce(run: Run) -> None:
    """Say what the replay takes; only once nothing can be refused any more."""
    log.info(
        "replay: %.2f GiB on disk at most, %d rows of %d steps; page cache as memory allows",
        run.replay_bytes / GIB,
        run.replay.capacity_rows,
        run.replay.length,
    )


def collection(run: Run, acting: nn.Module, policy: Policy, around: Surroundings, like: EnvBase) -> Collection:
    """Make the collector; `like` has steps like those of its environments."""
    if isinstance(run.collector, MultiAsyncSpec):
        step = like.fake_tensordict()
        for key in set(policy.out_keys) - set(step.keys(include_nested=True)):
            step.set(key, torch.zeros(step.batch_size))  # the probability of the action, which no environment knows
        return run.collector.build(partial(actor, run), acting, step)
    assert isinstance(run.collector, SyncSpec)
    return run.collector.build(around.build(run.collector.num_envs), policy)


def actor(run: Run, worker: int) -> Actor:
    """Make what acts in a worker process; its weights are those of the main process's `acting` once it acts."""
    network, num_envs = run.network.build(run.spaces).requires_grad_(False), run.collector.num_envs
    exploration = run.exploration.build(num_envs, first=worker * num_envs, total=run.collector.total_envs)
    return Actor(
        env=run.env.build(num_envs, run.network.primer()),
        policy=Policy(network, exploration.choose, exploration.probability if run.loss.reads_behaviour else None),
        network=network,
        anneal=exploration.anneal,
    )
