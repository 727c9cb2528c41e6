"""What a trained policy acts with outside of training, if possible without TorchRL and without its environment.

Importing TorchRL takes longer than importing PyTorch. A run says in its checkpoints what its environment is like
(`describe_policy`); of older runs, and where the policy reads an intrinsic reward, its environment is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from modules import keys
from modules.envs.numpy_observations import NumpyObservations
from modules.errors import told
from modules.keys import Spaces, StateSchema
from modules.networks.spec import NetworkSpec
from modules.spec import UsageError
from pipelines.agent.described import ACTING, VERSION, read_observations, read_spaces
from pipelines.agent.saved import load_weights, read_config, read_saved_policy, refuse_impossible
from pipelines.config.older import as_before
from pipelines.config.plugins import import_plugins, make, refused_target, resolve_references, strings, with_plugins
from pipelines.console.caller import fork_rngs, refusing_os_errors

if TYPE_CHECKING:
    from pipelines.agent.trained_agent import TrainedAgent


@dataclass(frozen=True, kw_only=True)
class Acting:
    """A network, and what it must know of the environment.

    Attributes:
        network: that acts.
        state: schema of its recurrent state.
        spaces: as the network sees them.
        observations: reads what the environment gives.
        window: how many observations the network sees at once.
        reward_scale: what rewards that it reads are multiplied by.
        reward_clip: what they are cut off at then; None: they are not.
        arm: that acts.
        make_agent: makes all the rest of the run.
    """

    network: Any
    state: StateSchema
    spaces: Spaces
    observations: NumpyObservations
    window: int
    reward_scale: float
    reward_clip: float | None
    arm: int
    make_agent: "Callable[[], TrainedAgent]"

    @cached_property
    def agent(self) -> "TrainedAgent":
        """Everything that evaluations have, with the run's environment."""
        return self.make_agent()


def load_acting(run_dir: Path, which: str, arm: int | None, plugins: Sequence[str]) -> Acting:
    """Load what a run saved of its policy, `best` or `last`.

    Raises:
        UsageError: there is no such run, checkpoint or arm, or it asks for modules that the user has not named.
    """
    folder = run_dir.absolute()  # the caller may be elsewhere when all is asked for

    def whole() -> "TrainedAgent":
        from pipelines.agent.trained_agent import load_agent

        with fork_rngs(), refusing_os_errors():
            return load_agent(folder, which=which, arm=arm, seed=0, plugins=plugins)

    described = load_described(run_dir, which, arm, plugins, whole)
    if described is not None:
        return described
    agent = whole()
    run, rewards = agent.run, agent.run.env.agent_rewards()
    return Acting(
        network=agent.policy.network,
        state=run.network.state(),
        spaces=run.spaces,
        observations=run.env.numpy_observations(run.env.spaces()),
        window=run.env.window_length,
        reward_scale=rewards.scale,
        reward_clip=rewards.clip,
        arm=agent.arm,
        make_agent=lambda: agent,
    )


def load_described(
    run_dir: Path, which: str, arm: int | None, plugins: Sequence[str], whole: "Callable[[], TrainedAgent]"
) -> Acting | None:
    """Load it by what the checkpoint says of the environment; None if that does not suffice."""
    config = with_plugins(read_config(run_dir), run_dir, plugins)
    plain = resolve_references(OmegaConf.create(config), run_dir / "config.yaml")
    for name, target in strings(plain):
        if name.rpartition(".")[2] == "_target_" and refused_target(target, plugins):
            return None  # whose sentence is that of the whole configuration
    path, state = read_saved_policy(run_dir, which)
    known = state.get(ACTING)
    if not isinstance(known, Mapping) or not isinstance(known.get("card"), Mapping):
        return None
    import_plugins(plugins)
    problems: list[str] = []
    network = make(as_before({"network": plain.get("network")})["network"], "network", problems, plugins)
    if problems or not isinstance(network, NetworkSpec) or keys.PREVIOUS_INTRINSIC in network.reads:
        return None
    if known["card"].get("version") != VERSION:
        return None
    try:
        spaces, card = read_spaces(known["spaces"]), known["card"]
        observations, window = read_observations(card, known["seen"]), int(card["observation"]["window"])
        scale, clip = card["reward"]["scale"], card["reward"]["clip"]
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise UsageError(f"{path}: what it says of the environment cannot be read ({told(error)})") from error
    if arm is not None and arm not in range(spaces.n_arms):
        return None
    refuse_impossible(path, state, spaces.n_arms, run_dir)
    built = network.build(spaces)
    load_weights(built, state["network"], run_dir)
    return Acting(
        network=built.eval(),
        state=network.state(),
        spaces=spaces,
        observations=observations,
        window=window,
        reward_scale=scale,
        reward_clip=clip,
        arm=state["arm"] if arm is None else arm,
        make_agent=whole,
    )
