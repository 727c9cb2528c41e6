"""What settings that came later mean in the config.yaml of an older run: that all is as it was before them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pydoc import locate
from types import MappingProxyType
from typing import Any

from pipelines.plugins import refused_target

LATER = MappingProxyType(
    {
        "callbacks": {},  # those of the run are not needed to evaluate it
        "eval_envs": 16,
        "eval_max_steps": 200_000,
        "plugins": [],
        "stop_at_episodes": None,
        "env.channels": None,
        "env.max_steps": None,
        "env.reward_scale": 1.0,
        "env.window_length": 1,
        "intrinsic.memory.horizon": None,
        "network.combine": "sum",
    }
)


def as_before(config: Mapping[str, Any]) -> dict[str, Any]:
    """Put the `LATER` settings into the plain values of a run that has none of them."""
    filled = {**config}
    for path, value in LATER.items():
        *above, name = path.split(".")
        node: Any = filled
        for part in above:
            inner = node.get(part) if isinstance(node, dict) else None
            if not isinstance(inner, dict):
                node = None
                break
            node[part] = node = {**inner}
        if isinstance(node, dict) and name not in node and takes(node, name):
            node[name] = value
    return filled


def takes(node: Mapping[str, Any], name: str) -> bool:
    """Tell whether a part of ours, described by `node`, has this setting."""
    target = str(node.get("_target_", ""))
    kind = None if refused_target(target, ()) else locate(target)
    return isinstance(kind, type) and is_dataclass(kind) and name in {field.name for field in fields(kind)}
