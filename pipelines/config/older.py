"""What an older run left, as it is written today: settings that came later, parts and weights that moved."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pydoc import locate
from typing import Any

from pipelines.config.plugins import refused_target

NEW_SETTINGS = {  # today's names of settings that were called otherwise
    "optim.tau": "target.tau",
    "optim.target_every": "target.period",
    "optim.average": "optim.ema_decay",
}
WORLDS = ("corridor", "explore", "shower", "tiny", "tour")  # which were in modules.envs
LATER = {
    "callbacks": {},  # those of the run are not needed to evaluate it
    "eval_envs": 16,
    "eval_max_steps": 200_000,
    "plugins": [],
    "resume": "never",
    "stop_at_episodes": None,
    "collector.rows": "learner",
    "env.action_mask": "none",
    "env.channels": None,
    "env.flicker": 0.0,
    "env.wrappers": [],
    "env.max_steps": None,
    "env.normalise": "none",
    "env.normalise_until": None,
    "env.reward_clip": None,
    "env.reward_scale": 1.0,
    "env.window_length": 1,
    "intrinsic.memory.horizon": None,
    "network.combine": "sum",
    "network.torso.norm": "none",
    "intrinsic.embedding.torso.norm": "none",
    "intrinsic.lifelong.torso.norm": "none",
    "replay.storage": {"_target_": "modules.replay.storage.MemmapSpec"},
}
MOVED = {  # beginnings of `_target_`
    "pipelines.schema.Run": "pipelines.config.schema.RunConfig",
    "modules.networks.memory.": "modules.networks.recurrent.",
    "modules.intrinsic.memory.": "modules.intrinsic.episodic_memory.",
    "modules.intrinsic.parts.DescentSpec": "modules.intrinsic.parts.AuxiliaryOptimizerSpec",
    "modules.meta.plain.": "modules.meta_controller.uniform.",
    "modules.meta.bandit.EvaluatorSpec": "modules.meta_controller.bandit.EvaluationBanditSpec",
    "modules.meta.": "modules.meta_controller.",
    **{f"modules.envs.{name}.": f"modules.envs.worlds.{name}." for name in WORLDS},
}
PARTS = {  # of a checkpoint
    "curiosity": "intrinsic_model",
    "bonus": "intrinsic_reward",
    "meta": "meta_controller",
    "evaluator": "evaluation_bandit",
}
OF_ACTORS = ("exploration", "intrinsic_reward", "meta_controller")
RENAMED = (  # parts of the keys of weights, in this order
    (r"streams\.0\.", "extrinsic."),
    (r"streams\.1\.", "intrinsic."),
    (r"(?<=_params\.)betas$", "combination.betas"),
    (r"module\.0\.module\.", "torso."),
    (r"module\.\d\.(?=lstm\.|gru\.)", "memory."),
    (r"module\.\d\.module\.(?=\d)", "head.layers."),
    (r"module\.\d\.module\.", "head."),
)


def as_now(state: Mapping[str, Any], *, torchrl_loss: bool = False) -> dict[str, Any]:
    """Give parts and weights in a checkpoint, which may be any that was read, the names that they have today.

    Those of TorchRL's own loss (`loss=torchrl_dqn`) have kept theirs.
    """
    if "curiosity" not in state:  # it has them already
        return with_actors({"exploration": {}, **state})
    found = {"exploration": {}} | {PARTS.get(name, name): part for name, part in state.items()}
    if "network" in found:
        found["network"] = rename_weights(found["network"])
    if isinstance(learner := found.get("learner"), Mapping) and not torchrl_loss:
        found["learner"] = {name: rename_weights(part) for name, part in learner.items()}
    if isinstance(counters := found.get("counters"), Mapping):
        found["counters"] = {"updates_due" if name == "owed" else name: count for name, count in counters.items()}
    return with_actors(found)


def with_actors(state: dict[str, Any]) -> dict[str, Any]:
    """Add what the one actor kept where it stood among the other parts."""
    if "actors" in state or any(name not in state for name in OF_ACTORS):
        return state
    return {**state, "actors": {"0": {name: state[name] for name in OF_ACTORS}}}


def rename_weights(weights: Any) -> Any:
    """Give each weight the name that it has today, if these are weights."""
    if not isinstance(weights, Mapping):
        return weights
    found = dict(weights)
    for old, new in RENAMED:
        found = {re.sub(old, new, key) if isinstance(key, str) else key: value for key, value in found.items()}
    return found


def with_target(config: dict[str, Any]) -> dict[str, Any]:
    """Put what a run of before says of its target network where it stands today."""
    optim = config.get("optim")
    if not isinstance(optim, dict) or "target" in config or "tau" not in optim:
        return config
    rest = {NEW_SETTINGS.get(f"optim.{name}", str(name)).removeprefix("optim."): value for name, value in optim.items()}
    target = {name: rest.pop(f"target.{name}") for name in ("tau", "period") if f"target.{name}" in rest}
    return {**config, "optim": rest, "target": {"_target_": "modules.learner.target.TargetSpec", **target}}


def move_settings(node: Any) -> Any:
    """Let each `_target_` name the place where its part is today."""
    if isinstance(node, list):
        return [move_settings(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: move_settings(value) for key, value in node.items()}
    target = str(found.get("_target_", ""))
    for old, new in MOVED.items():
        if target.startswith(old):
            found["_target_"] = new + target.removeprefix(old)
            break
    return found


def as_before(config: Mapping[str, Any]) -> dict[str, Any]:
    """Put the `LATER` settings into the plain values of a run that has none of them, and name its parts as today."""
    filled = with_target(move_settings({**config}))  # a copy of everything, so that it may be written into
    for path, value in LATER.items():
        *above, name = path.split(".")
        node: Any = filled
        for part in above:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and name not in node and takes(node, name):
            node[name] = value
    return filled


def takes(node: Mapping[str, Any], name: str) -> bool:
    """Tell whether a part of ours, described by `node`, has this setting."""
    target = str(node.get("_target_", ""))
    kind = None if refused_target(target, ()) else locate(target)
    return isinstance(kind, type) and is_dataclass(kind) and name in {field.name for field in fields(kind)}
