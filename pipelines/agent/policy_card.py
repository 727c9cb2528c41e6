"""What somebody without Recall must know to act with a policy: plain values, as JSON writes them."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from modules.envs.numpy_observations import NumpyGymObservations, NumpyObservations
from pipelines.agent.described import VERSION, write_spaces
from pipelines.config.schema import RunConfig

FORMAT = "recall-policy"


def describe_policy(run: RunConfig) -> dict[str, Any]:
    """Describe what acts in the environments of a run.

    Returns:
        `task`; `actions`, a name each or its number; `observation`: the `shape` and `dtype` that the network sees, the
        `space` of what the environment gives, the entries of that which the network sees (`keep`, null: all, in their
        order), how many observations it sees at once (`window`), and whether it normalises them itself; `reward`: the
        scale and then the clip of what is read as `previous_reward`.
    """
    seen, env = run.spaces, run.env
    plain, rewards = env.numpy_observations(env.spaces()), env.agent_rewards()
    gym = plain if isinstance(plain, NumpyGymObservations) else None
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": getattr(env, "id", run.name),
        "run": {"name": run.name, "seed": run.seed},
        "actions": list(plain.action_names) or [str(number) for number in range(seen.n_actions)],
        "action_space": None if gym is None else describe_space(gym.action_space),
        "observation": {
            "shape": list(seen.observation_shape),
            "dtype": str(seen.observation_dtype).removeprefix("torch."),
            "space": None if gym is None else describe_space(gym.space),
            "keep": None if gym is None or gym.keep is None else list(gym.keep),
            "channels": None if gym is None else gym.channels,
            "window": env.window_length,
            "normalised": "by the policy" if seen.normalised else "no",
        },
        "reward": {"scale": rewards.scale, "clip": rewards.clip},
    }


def describe_acting(run: RunConfig) -> dict[str, Any]:
    """Describe what a checkpoint must hold to act without the environment; nothing where frames are drawn by that."""
    plain = run.env.numpy_observations(run.env.spaces())
    if type(plain) not in (NumpyGymObservations, NumpyObservations):
        return {}
    return {"card": describe_policy(run), "spaces": write_spaces(run.spaces), "seen": write_spaces(run.env.spaces())}


def describe_space(space: spaces.Space) -> dict[str, Any]:
    """Write a Gymnasium space as plain values; null stands for a bound that is infinite."""
    match space:
        case spaces.Box():
            low, high = (bounds(edge) for edge in (space.low, space.high))
            return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), "low": low, "high": high}
        case spaces.Discrete():
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "shape": list(space.shape)}
        case spaces.Dict():
            return {"type": "Dict", "spaces": {name: describe_space(part) for name, part in space.spaces.items()}}
        case spaces.Tuple():
            return {"type": "Tuple", "spaces": [describe_space(part) for part in space.spaces]}
    raise TypeError(f"{space} is no space that an agent can be trained on")


def bounds(edge: np.ndarray) -> Any:
    """Write bounds: one number if all are equal, else a flat list; infinite ones are null."""
    numbers = [number if math.isfinite(number) else None for number in edge.ravel().tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers
