"""The third phase and the only wiring: specs become live parts, in a fixed order, shared by hand."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torchrl.envs import EnvBase

from modules.collect import Actor, Collection, MultiAsyncSpec, SyncSpec
from modules.exploration import Exploration
from modules.learner import Learner
from modules.loggers import Logger
from modules.networks.nets import Policy, RecurrentNetwork
from modules.process import tune
from modules.replay.ring import GIB
from modules.replay.sequence import SequenceReplay
from modules.seeding import seed_everything, seed_for
from pipelines.schema import Run

EVAL_ENVS = 16  # at most; more would idle while the longest episode ends

log = logging.getLogger("recall")
logging.getLogger("torchrl").setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the loop works with.

    The learner's network may live on another device. `acting` and `evaluated` are copies on the CPU, beside the
    environments: the loop pushes the newest weights to the first, on which `policy` acts and explores, and the
    averaged ones to the second, on which `greedy` acts when it is evaluated or filmed.
    """

    run: Run
    run_dir: Path
    acting: RecurrentNetwork
    evaluated: RecurrentNetwork
    policy: Policy
    greedy: Policy
    exploration: Exploration
    collection: Collection
    eval_env: EnvBase
    replay: SequenceReplay
    learner: Learner
    logger: Logger

    def close(self) -> None:
        """Close environments; the logger is finished by the loop, with its summary."""
        self.collection.close()
        self.eval_env.close()


def build(run: Run, run_dir: Path, config: Mapping[str, Any], checkpoint: Mapping[str, Any] | None) -> Parts:
    """Make all parts of a checked run; `checkpoint` is that of the run to go on with, or None."""
    tune(run.threads)
    seed_everything(run.seed)
    device, spaces, states = run.torch_device, run.spaces, run.network.memory.states()

    network = run.network.build(spaces)
    acting, evaluated = (copy.deepcopy(network).requires_grad_(False) for _ in range(2))
    evaluated.eval()
    network = network.to(device)
    exploration = run.exploration.build(run.collector.total_envs)
    policy = Policy(acting, spaces.n_actions, exploration.choose)
    eval_env = run.env.build(min(run.eval_episodes, EVAL_ENVS), run.network.primer())
    replay = SequenceReplay(
        run.replay,
        run_dir / "replay",
        spaces,
        states,
        save_every=run.save_every,
        batch_frames=run.collector.frames_per_batch,
        seed=seed_for(run.seed, "replay"),
        reads=run.network.inputs.reads,
        symmetry=run.env.symmetry(),
    )
    learner = Learner(network, run.loss.build(network, run.rows), run.optim)
    logger = run.logger.build(
        run_dir,
        config=config,
        name=f"{run.name}-seed{run.seed}",
        frames=checkpoint["frames"] if checkpoint else 0,
        state=checkpoint["logger"] if checkpoint else None,
    )
    log.info(
        "replay: %.2f GiB on disk at most, %d rows of %d steps; page cache as memory allows",
        run.replay_bytes / GIB,
        run.replay.capacity_rows,
        run.replay.length,
    )
    return Parts(
        run=run,
        run_dir=run_dir,
        acting=acting,
        evaluated=evaluated,
        policy=policy,
        greedy=Policy(evaluated, spaces.n_actions),
        exploration=exploration,
        collection=collection(run, acting, policy, eval_env),
        eval_env=eval_env,
        replay=replay,
        learner=learner,
        logger=logger,
    )


def collection(run: Run, acting: RecurrentNetwork, policy: Policy, like: EnvBase) -> Collection:
    """Make the collector; `like` has steps like those of its environments."""
    if isinstance(run.collector, MultiAsyncSpec):
        return run.collector.build(partial(actor, run), acting, like.fake_tensordict())
    assert isinstance(run.collector, SyncSpec)
    return run.collector.build(run.env.build(run.collector.num_envs, run.network.primer()), policy)


def actor(run: Run, worker: int) -> Actor:
    """Make what acts in a worker process; its weights are those of the main process's `acting` once it acts."""
    network, num_envs = run.network.build(run.spaces).requires_grad_(False), run.collector.num_envs
    exploration = run.exploration.build(num_envs, first=worker * num_envs, total=run.collector.total_envs)
    return Actor(
        env=run.env.build(num_envs, run.network.primer()),
        policy=Policy(network, run.spaces.n_actions, exploration.choose),
        network=network,
        anneal=exploration.anneal,
    )
