"""The third phase and the only wiring: specs become live parts, in a fixed order, shared by hand."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchrl.envs import EnvBase

from modules.collect import SyncCollection
from modules.exploration import EpsGreedy
from modules.learner import Learner
from modules.loggers import Logger
from modules.networks.nets import Policy, RecurrentNetwork
from modules.process import tune
from modules.replay.sequence import GIB, SequenceReplay
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
    exploration: EpsGreedy
    collection: SyncCollection
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
    exploration = run.exploration.build()
    policy = Policy(acting, spaces.n_actions, exploration.choose)
    env = run.env.build(run.collector.num_envs, run.network.primer())
    eval_env = run.env.build(min(run.eval_episodes, EVAL_ENVS), run.network.primer())
    replay = SequenceReplay(
        run.replay,
        run_dir / "replay",
        spaces,
        states,
        save_every=run.save_every,
        batch_frames=run.collector.frames_per_batch,
        seed=seed_for(run.seed, "replay"),
        symmetry=run.env.symmetry(),
    )
    learner = Learner(network, run.loss.build(network, tuple(states)), run.optim)
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
        collection=run.collector.build(env, policy),
        eval_env=eval_env,
        replay=replay,
        learner=learner,
        logger=logger,
    )
