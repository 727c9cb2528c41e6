"""Frames that are blank now and then, so that one alone does not tell how things are."""

from typing import Any

import gymnasium
import numpy as np


class Blank:
    """Decides, with a `probability`, that a frame is blank; draws from a generator of its own, which `seed` seeds."""

    def __init__(self, probability: float) -> None:
        self._probability, self._generator = probability, np.random.default_rng()

    def seed(self, seed: int) -> None:
        """Begin again; the numbers are other ones than an environment of this seed draws."""
        self._generator = np.random.default_rng((seed, 1))

    def __call__(self) -> bool:
        """Tell whether the next frame is blank."""
        return self._probability > 0 and self._generator.random() < self._probability


class Flicker(gymnasium.ObservationWrapper):
    """Blanks each frame as a whole with a probability, also the first (Hausknecht & Stone 2015, section 4).

    Args:
        env: gives frames.
        probability: of a blank frame; DRQN's Flickering Pong has 0.5.
    """

    def __init__(self, env: gymnasium.Env, probability: float) -> None:
        super().__init__(env)
        self._blank = Blank(probability)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._blank.seed(seed)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> Any:
        """The frame, or one of zeros."""
        return np.zeros_like(observation) if self._blank() else observation
