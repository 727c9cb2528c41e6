"""Runs that nobody has trained: a folder with settings and drawn weights, as an evaluation finds it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf

from modules import checkpoint
from modules.intrinsic import IntrinsicContext
from pipelines.agent.described import ACTING
from pipelines.agent.policy_card import describe_acting
from pipelines.config.composing import compose_settings
from pipelines.config.schema import RunConfig, read
from pipelines.training.session import config_of
from tests.modules.builders import sharpen

MASKED = "+exp=drqn_cartpole_masked"
SMALL = ("threads=1", "device=cpu")
KINDS = {  # of policies: words of the command line, and the seed of weights that take both actions on CartPole
    "lstm": ((MASKED,), 0),
    "gru": ((MASKED, "network/memory=gru"), 3),
    "none": ((MASKED, "network/memory=none"), 2),
    "previous": ((MASKED, "network/inputs=previous"), 5),
    "window": ((MASKED, "network/inputs=previous", "env.window_length=3", "env.reward_scale=0.5"), 5),
    "pixels": (("+exp=drqn_cartpole",), 0),
    "family": (("+exp=agent57_cartpole",), 4),
}


def saved_kind(run_dir: Path, kind: str) -> RunConfig:
    """Write a run of one of `KINDS`."""
    words, seed = KINDS[kind]
    return saved_run(run_dir, *words, seed=seed)


def saved_run(run_dir: Path, *words: str, seed: int = 1) -> RunConfig:
    """Write config.yaml and best.pt, with weights so large, and no biases, that all that is read shows."""
    config, _ = compose_settings((*SMALL, *words))
    run = read(config)
    torch.manual_seed(seed)
    network = run.network.build(run.spaces)
    sharpen(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_("bias" not in name)
    intrinsic_model = run.intrinsic.build(IntrinsicContext(spaces=run.spaces, device=torch.device("cpu")))
    intrinsic_reward = intrinsic_model.acting(run.collector.num_envs)
    state = {"frames": 1000, "network": network.state_dict(), "arm": 0}
    state |= {ACTING: describe_acting(run)}
    state |= {"intrinsic_model": intrinsic_model.state_dict(), "intrinsic_reward": intrinsic_reward.state_dict()}
    checkpoint.write(run_dir / "checkpoints" / "best.pt", state)
    OmegaConf.save(OmegaConf.create(config_of(config)), run_dir / "config.yaml")
    return run


def varied(actions: Sequence[int]) -> bool:
    """Tell whether an episode has enough of both actions for a comparison to mean something."""
    return len(set(actions)) > 1 and min(map(actions.count, set(actions))) > 1
