"""What a run directory holds: the configuration, the saved weights, and the policy that they make."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from tensordict.nn import TensorDictModuleBase

from modules.exploration import ExplorationContext, random_policy
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.meta_controller import FixedArm
from modules.networks.network import RecurrentNetwork
from modules.networks.tensordict_modules import Policy
from modules.networks.two_streams import TwoStreamNetwork
from modules.process import tune
from modules.seeding import seed_everything
from modules.spec import UsageError
from modules.stateful import put_back
from pipelines.agent.agent_env import CPU, AgentEnv, evaluation_env
from pipelines.agent.saved import load_saved_policy, load_weights, read_config
from pipelines.config.older import as_before
from pipelines.config.plugins import with_plugins
from pipelines.config.schema import RunConfig, read

PolicyName = Literal["greedy", "sampled", "random"]


def load_run(run_dir: Path, plugins: Sequence[str]) -> tuple[RunConfig, dict[str, Any]]:
    """Read the configuration that a run directory was made with, checked, and as plain values.

    The user names `plugins`; other modules that are asked for there are not imported.
    """
    config = read_config(run_dir)
    config = with_plugins(as_before(config), run_dir, plugins)
    return read(OmegaConf.create(config)), config


def network_with(state: Mapping[str, Any], run: RunConfig, run_dir: Path) -> RecurrentNetwork | TwoStreamNetwork:
    """Make the network that `run` describes with the weights saved in `run_dir`, or raise `UsageError`."""
    network = run.network.build(run.spaces)
    load_weights(network, state, run_dir)
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
    path, state = load_saved_policy(run.spaces.n_arms, run_dir, which)
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
