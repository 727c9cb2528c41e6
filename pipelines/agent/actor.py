"""What acts in training: one actor here, or one in each worker process."""

from dataclasses import dataclass
from functools import partial

from modules.collect import Actor
from modules.exploration import Exploration, ExplorationContext
from modules.intrinsic import IntrinsicContext, IntrinsicModel, IntrinsicReward
from modules.meta_controller import MetaContext, MetaController
from modules.networks.network import RecurrentNetwork
from modules.networks.tensordict_modules import Policy
from modules.networks.two_streams import TwoStreamNetwork
from modules.seeding import seed_everything, seed_for
from pipelines.agent.agent_env import CPU, AgentEnv
from pipelines.config.plugins import import_plugins
from pipelines.config.schema import RunConfig


@dataclass(frozen=True, kw_only=True)
class TrainingActor(Actor):
    """An actor with the parts that the wiring and the loop ask for.

    Attributes:
        network: on which the policy acts, a copy of the learner's.
        exploration: how it leaves the greedy path.
        intrinsic_reward: of its environments.
        meta: chooses their arms.
    """

    network: RecurrentNetwork | TwoStreamNetwork
    exploration: Exploration
    intrinsic_reward: IntrinsicReward
    meta: MetaController


def make_actor(
    run: RunConfig, number: int, network: RecurrentNetwork | TwoStreamNetwork, intrinsic_model: IntrinsicModel
) -> TrainingActor:
    """Make the actor of this number around a network and an intrinsic model, which may be those that learn."""
    num_envs, total = run.collector.num_envs, run.collector.total_envs
    numbers = range(number * num_envs, (number + 1) * num_envs)
    exploration = run.exploration.build(ExplorationContext(numbers, total))
    intrinsic_reward = intrinsic_model.acting(num_envs)
    meta = run.meta.build(MetaContext(numbers=numbers, total=total, seed=seed_for(run.seed, "meta", number)))
    agent_env = AgentEnv(run=run, intrinsic_reward=intrinsic_reward, meta=meta, max_steps=None)
    return TrainingActor(
        env=partial(agent_env.build, num_envs),
        policy=Policy(
            network,
            exploration.choose,
            exploration.probability if run.loss.reads_behaviour else None,
            tell_values=run.collector.actors_cut and run.replay.by_priority,
        ),
        network=network,
        networks=[network, *intrinsic_model.networks()],
        anneal=exploration.anneal,
        kept={"exploration": exploration, "intrinsic_reward": intrinsic_reward, "meta_controller": meta},
        moments=intrinsic_model.moments(),
        told=intrinsic_reward.told(),
        cutter=run.cutter if run.collector.actors_cut else None,
        exploration=exploration,
        intrinsic_reward=intrinsic_reward,
        meta=meta,
    )


def worker_actor(run: RunConfig, worker: int) -> Actor:
    """Make the actor of a worker process; its weights are those of the main process once it acts."""
    import_plugins(run.plugins)
    seed_everything(seed_for(run.seed, "worker", worker))  # constructors of environments may draw
    network = run.network.build(run.spaces).requires_grad_(False)
    intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=CPU))
    return make_actor(run, worker, network, intrinsic_model)
