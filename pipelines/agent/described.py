"""What a checkpoint says of the environment, so that a policy can act without it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from modules.envs.numpy_observations import NumpyGymObservations, NumpyObservations
from modules.keys import Part, Spaces

ACTING = "acting"  # in a checkpoint
VERSION = 1  # of a policy's card


def write_spaces(seen: Spaces) -> dict[str, Any]:
    """Write the spaces of a network as plain values."""
    parts = [[part.name, list(part.shape), part.kind, part.channels] for part in seen.parts]
    return {
        "observation_shape": list(seen.observation_shape),
        "observation_dtype": str(seen.observation_dtype).removeprefix("torch."),
        "n_actions": seen.n_actions,
        "betas": list(seen.betas),
        "rescale_eps": seen.rescale_eps,
        "normalised": seen.normalised,
        "planes": seen.planes,
        "parts": parts,
    }


def read_spaces(known: Mapping[str, Any]) -> Spaces:
    """Read what `write_spaces` wrote."""
    return Spaces(
        observation_shape=tuple(known["observation_shape"]),
        observation_dtype={"uint8": torch.uint8, "float32": torch.float32}[known["observation_dtype"]],
        n_actions=known["n_actions"],
        betas=tuple(known["betas"]),
        rescale_eps=known["rescale_eps"],
        normalised=known["normalised"],
        planes=known["planes"],
        parts=tuple(Part(name, tuple(shape), kind, channels) for name, shape, kind, channels in known["parts"]),
    )


def read_observations(card: Mapping[str, Any], seen: Mapping[str, Any]) -> NumpyObservations:
    """Make what reads the environment's observations, of what `describe_policy` and `write_spaces` wrote."""
    of_network, observation = read_spaces(seen), card["observation"]
    if observation["space"] is None:
        return NumpyObservations(of_network, len(of_network.observation_shape), int, card["actions"])
    return NumpyGymObservations(
        read_space(observation["space"]),
        read_space(card["action_space"]),
        of_network,
        keep=observation["keep"],
        channels=observation["channels"],
        action_names=card["actions"],
        env_id=card["task"],
    )


def read_space(known: Mapping[str, Any]) -> spaces.Space:
    """Make the Gymnasium space that `describe_space` wrote."""
    match known["type"]:
        case "Box":
            shape, dtype = tuple(known["shape"]), np.dtype(known["dtype"])
            low, high = (edge(known[name], shape, dtype, sign) for name, sign in (("low", -1), ("high", 1)))
            return spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return spaces.Discrete(known["n"], start=known["start"])
        case "MultiDiscrete":
            return spaces.MultiDiscrete(np.asarray(known["nvec"]), start=np.asarray(known["start"]))
        case "MultiBinary":
            return spaces.MultiBinary(known["shape"])
        case "Dict":
            return spaces.Dict({name: read_space(part) for name, part in known["spaces"].items()})
        case _:
            return spaces.Tuple([read_space(part) for part in known["spaces"]])


def edge(bounds: Any, shape: tuple[int, ...], dtype: np.dtype, sign: int) -> np.ndarray:
    """Make the lower (`sign` −1) or upper bounds of a Box of what `bounds` of a policy's card wrote."""
    numbers = [
        sign * np.inf if number is None else number for number in (bounds if isinstance(bounds, list) else [bounds])
    ]
    filled = np.asarray(numbers).astype(dtype)
    return np.full(shape, filled[0], dtype) if len(numbers) == 1 else filled.reshape(shape)
