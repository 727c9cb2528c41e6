"""What a run directory holds: the configuration, the saved weights, and the policy that they make."""

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from tensordict.nn import TensorDictModuleBase

from modules import checkpoint
from modules.exploration import random_policy
from modules.intrinsic import Bonus, Curiosity
from modules.meta import FixedArm
from modules.networks.nets import Policy, RecurrentNetwork
from modules.networks.split import SplitNetwork
from modules.process import tune
from modules.seeding import seed_everything
from modules.spec import UsageError
from pipelines.around import CPU, Surroundings, greedy_surroundings
from pipelines.output import quoted
from pipelines.schema import Run, read

CONFIG = "config.yaml"
PolicyName = Literal["greedy", "sampled", "random"]


def load_run(run_dir: Path) -> tuple[Run, dict[str, Any]]:
    """Read the configuration that a run directory was made with, checked, and as plain values."""
    path = run_dir / CONFIG
    if not path.is_file():
        beneath = runs_beneath(run_dir)
        newest = max(beneath, key=lambda path: (path / CONFIG).stat().st_mtime, default=run_dir)
        hint = f"; runs lie beneath it, the newest is run={quoted(newest)}" if beneath else ""
        raise UsageError(f"{run_dir}: no run is there (it has no config.yaml){hint}")
    try:
        cfg = OmegaConf.load(path)
    except Exception as error:
        raise UsageError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    config = OmegaConf.to_container(cfg)
    if not isinstance(config, dict):
        raise UsageError(f"{path}: not the configuration of a run")
    return read(OmegaConf.create(config)), {str(key): value for key, value in config.items()}


def runs_beneath(folder: Path) -> list[Path]:
    """Find the run directories of a sweep, in the order of their numbers; none if `folder` is itself a run."""
    found = []
    for place, inner, files in [] if (folder / CONFIG).exists() else os.walk(folder):
        if CONFIG in files:
            inner.clear()
            found.append(Path(place))
    return sorted(found, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", str(path))])


def saved(run_dir: Path, which: str) -> dict[str, Any]:
    """Load what a run saved for evaluations, `best` or `last`: network, curiosity, arm, frames."""
    folder = run_dir / "checkpoints"
    best = folder / "best.pt"
    if which == "best" and best.exists():
        return checkpoint.load(best)
    newest = checkpoint.latest(folder)
    if which == "best":
        raise UsageError(f"{run_dir}: no evaluation has chosen a best checkpoint yet; use checkpoint=last")
    return checkpoint.load(newest)


def network_with(state: Mapping[str, Any], run: Run, run_dir: Path) -> RecurrentNetwork | SplitNetwork:
    """Make the network that `run` describes with the weights saved in `run_dir`, or raise `UsageError`."""
    network = run.network.build(run.spaces)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"{run_dir}: the saved weights do not fit the network in its config.yaml") from error
    return network


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is evaluated: a run's settings and saved policy, with the curiosity, bonus and arm that it acts with.

    `policy` is the greedy one.
    """

    run: Run
    policy: Policy
    curiosity: Curiosity
    bonus: Bonus
    arm: int
    frames: int

    def acting(self, choice: PolicyName, num_envs: int) -> TensorDictModuleBase:
        """Make what acts in `num_envs` environments.

        `greedy` takes the best action, `random` any. `sampled` explores as training did at the checkpoint: by its
        temperature, or by its ε, of a ladder with as many steps as there are environments.
        """
        if choice == "greedy":
            return self.policy
        if choice == "random":
            return random_policy(self.run.spaces.n_actions)
        exploration = self.run.exploration.build(num_envs)
        exploration.anneal(self.frames)
        return Policy(self.policy.network, exploration.choose)

    def around(self, num_envs: int) -> Surroundings:
        """Make what surrounds environments of its own."""
        meta = FixedArm(self.arm)
        curiosity = copy.deepcopy(self.curiosity)  # its statistics go on: what is seen first must not change the rest
        return greedy_surroundings(self.run, curiosity, num_envs, like=self.bonus, meta=meta)


def subject_of(run_dir: Path, *, which: str, arm: int | None, seed: int) -> Subject:
    """Make everything ready to act as a run has learned to; seeds the global generators.

    Args:
        run_dir: of the run.
        which: checkpoint, `best` or `last`.
        arm: that acts; None for the one that the run's own evaluations chose.
        seed: of the global generators.

    Raises:
        UsageError: there is no such run, checkpoint or arm, or they do not fit each other.
    """
    run, _ = load_run(run_dir)
    if arm is not None and arm not in range(run.spaces.n_arms):
        raise UsageError(f"arm={arm}: {run_dir} has {run.spaces.n_arms} arms, of which the first is 0")
    tune(run.threads)
    seed_everything(seed)
    state = saved(run_dir, which)
    network = network_with(state["network"], run, run_dir)
    curiosity = run.intrinsic.build(run.spaces, CPU)
    curiosity.load_state_dict(state["curiosity"])
    bonus = curiosity.acting(run.collector.num_envs)
    bonus.load_state_dict(state["bonus"])
    return Subject(
        run=run,
        policy=Policy(network.eval()),
        curiosity=curiosity,
        bonus=bonus,
        arm=state["arm"] if arm is None else arm,
        frames=state["frames"],
    )
