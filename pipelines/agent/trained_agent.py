"""What a run directory holds: the configuration, the saved weights, and the policy that they make."""

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from tensordict.nn import TensorDictModuleBase

from modules import checkpoint
from modules.exploration import ExplorationContext, random_policy
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.meta_controller import FixedArm
from modules.networks.network import Policy, RecurrentNetwork
from modules.networks.two_streams import TwoStreamNetwork
from modules.process import tune
from modules.seeding import seed_everything
from modules.spec import UsageError
from modules.stateful import put_back
from pipelines.agent.agent_env import CPU, AgentEnv, evaluation_env
from pipelines.config.older import as_before, as_now
from pipelines.config.plugins import read_yaml, refuse_lookups, values_of, with_plugins
from pipelines.config.schema import RunConfig, read
from pipelines.console.output import quote_path

CONFIG = "config.yaml"
RUN_ID = r"[0-9a-f]{32}|"  # nothing: of runs of before
PolicyName = Literal["greedy", "sampled", "random"]
# What best.pt has.
POLICY = {"frames": int, "network": Mapping, "intrinsic_model": Mapping, "intrinsic_reward": Mapping, "arm": int}


def load_run(run_dir: Path, plugins: Sequence[str]) -> tuple[RunConfig, dict[str, Any]]:
    """Read the configuration that a run directory was made with, checked, and as plain values.

    The user names `plugins`; other modules that are asked for there are not imported.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        beneath = runs_beneath(run_dir)
        newest = max(beneath, key=lambda path: (path / CONFIG).stat().st_mtime, default=run_dir)
        hint = f"; runs lie beneath it, the newest is run={quote_path(newest)}" if beneath else ""
        raise UsageError(f"{run_dir}: no run is there (it has no config.yaml){hint}")
    config = values_of(read_yaml(path))
    refuse_lookups(config, path)
    config = with_plugins(as_before(config), run_dir, plugins)
    return read(OmegaConf.create(config)), config


def runs_beneath(folder: Path) -> list[Path]:
    """Find the run directories of a sweep, in the order of their numbers; none if `folder` is itself a run."""
    found = []
    for place, inner, files in [] if (folder / CONFIG).exists() else os.walk(folder):
        if CONFIG in files:
            inner.clear()
            found.append(Path(place))
    return sorted(found, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", str(path))])


def load_saved_policy(run: RunConfig, run_dir: Path, which: str) -> tuple[Path, dict[str, Any]]:
    """Load what a run saved for evaluations, `best` or `last`; say where from."""
    folder = run_dir / "checkpoints"
    path = folder / "best.pt"
    if which == "last" or not path.exists():
        path = checkpoint.latest(folder)
        if which == "best":
            raise UsageError(f"{run_dir}: no evaluation has chosen a best checkpoint yet; use checkpoint=last")
    state = as_now(checkpoint.load(path))
    if wrong := next(impossible(state, POLICY, run), ""):
        raise UsageError(f"{path}: not a checkpoint that can be evaluated, because {wrong}")
    refuse_another_runs(state, path, run_dir)
    return path, state


def refuse_another_runs(state: Mapping[str, Any], path: Path, run_dir: Path) -> None:
    """Raise `UsageError` if the run in `run_dir` did not write this checkpoint, as far as its summary.json tells."""
    summary = read_summary(run_dir)
    if summary is not None and state.get("run_id", "") != summary.get("run_id", ""):
        raise UsageError(f"{path}: a checkpoint of another run than the one in {run_dir}; put it back where it was")


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """What the summary.json of a run says; None if there is none, or it is damaged."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) else None


def impossible(state: Mapping[str, Any], kinds: Mapping[str, type], run: RunConfig) -> Iterator[str]:
    """Say what in a checkpoint is missing, of another type than in `kinds`, or out of its bounds."""
    if missing := [name for name in kinds if name not in state]:
        yield f"it has no {' and no '.join(missing)}, which best.pt, older runs and other programs' files lack"
        return
    for name, kind in kinds.items():
        if not isinstance(state[name], kind) or isinstance(state[name], bool):
            yield f"its {name} is no {'number' if kind is int else 'table'}"
            return
    if state["frames"] < 0:
        yield f"{state['frames']} is no number of frames"
    run_id = state.get("run_id", "")
    if not (isinstance(run_id, str) and re.fullmatch(RUN_ID, run_id)):
        yield "its identity is none that a run draws"
    if state["arm"] not in range(run.spaces.n_arms):
        yield f"it has arm {state['arm']}, and the run {run.spaces.n_arms} arms, of which the first is 0"


def network_with(state: Mapping[str, Any], run: RunConfig, run_dir: Path) -> RecurrentNetwork | TwoStreamNetwork:
    """Make the network that `run` describes with the weights saved in `run_dir`, or raise `UsageError`."""
    network = run.network.build(run.spaces)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(f"{run_dir}: the saved weights do not fit the network in its config.yaml") from error
    return network


@dataclass(frozen=True, kw_only=True)
class TrainedAgent:
    """What is evaluated: a run's settings and saved policy, with the intrinsic reward and the arm that it acts with.

    `policy` is the greedy one.
    """

    run: RunConfig
    policy: Policy
    intrinsic_model: IntrinsicModel
    intrinsic_reward: IntrinsicReward
    arm: int
    frames: int

    def acting(self, choice: PolicyName, num_envs: int) -> TensorDictModuleBase:
        """Make what acts in `num_envs` environments.

        `greedy` takes the best action, `random` any. `sampled` explores as training did at the checkpoint: by its
        temperature, or by its ε, of a ladder by rungs from all over training's, one environment by a middle one.
        """
        if choice == "greedy":
            return self.policy
        if choice == "random":
            return random_policy(self.run.spaces)
        exploration = self.run.exploration.build(ExplorationContext.spread(num_envs, self.run.collector.total_envs))
        exploration.anneal(self.frames)
        return Policy(self.policy.network, exploration.choose)

    def agent_env(self, num_envs: int) -> AgentEnv:
        """Make what surrounds environments of its own."""
        model = copy.deepcopy(self.intrinsic_model)  # its statistics continue: what is seen must not change the rest
        return evaluation_env(self.run, model, num_envs, like=self.intrinsic_reward, meta=FixedArm(self.arm))


def load_agent(run_dir: Path, *, which: str, arm: int | None, seed: int, plugins: Sequence[str] = ()) -> TrainedAgent:
    """Make everything ready to act as a run has learned to, from its `best` or `last` checkpoint.

    `arm` acts; None is the one that the run's own evaluations chose. `seed` is that of the global generators.

    Raises:
        UsageError: there is no such run, checkpoint or arm, or they do not fit each other.
    """
    run, _ = load_run(run_dir, plugins)
    if arm is not None and arm not in range(run.spaces.n_arms):
        raise UsageError(f"arm={arm}: {run_dir} has {run.spaces.n_arms} arms, of which the first is 0")
    tune(run.threads)
    seed_everything(seed)
    path, state = load_saved_policy(run, run_dir, which)
    network = network_with(state["network"], run, run_dir)
    intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
    put_back({"intrinsic_model": intrinsic_model}, state, path)  # first: a bonus acts with what it has learned
    intrinsic_reward = intrinsic_model.acting(run.collector.num_envs)
    put_back({"intrinsic_reward": intrinsic_reward}, state, path)
    return TrainedAgent(
        run=run,
        policy=Policy(network.eval()),
        intrinsic_model=intrinsic_model,
        intrinsic_reward=intrinsic_reward,
        arm=state["arm"] if arm is None else arm,
        frames=state["frames"],
    )
