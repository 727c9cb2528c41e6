"""MiniGrid's observations for a network: the codes of each cell as one-hot vectors; nothing of MiniGrid is imported."""

from typing import Any

import gymnasium
import numpy as np

OBJECTS, COLOURS, STATES = 11, 6, 4  # kinds of each code: minigrid.core.constants; the agent's state is its direction
CODES = np.array([OBJECTS, COLOURS, STATES])
FIRST = np.cumsum(CODES) - CODES  # where each code's part of a cell's vector begins


class OneHotCodes(gymnasium.ObservationWrapper):
    """Replace the view [height, width, 3] of object, colour and state codes by 21 planes of 0 and 1.

    A code is a name: a network that reads it as a number takes a key (5) for nearly a ball (6).
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        shape = space.shape or ()
        if not isinstance(space, gymnasium.spaces.Box) or len(shape) != 3 or shape[2] != len(CODES):
            raise ValueError(
                f"it needs a view [height, width, 3], not {space}: put minigrid.wrappers:ImgObsWrapper before it"
            )
        self._cells = np.arange(shape[0] * shape[1])[:, None]
        self.observation_space = gymnasium.spaces.Box(0, 1, (*shape[:2], int(CODES.sum())), np.uint8)

    def observation(self, observation: Any) -> np.ndarray:
        """[height, width, 3] → [height, width, 21]."""
        vectors = np.zeros((len(self._cells), CODES.sum()), np.uint8)
        vectors[self._cells, observation.reshape(-1, len(CODES)) + FIRST] = 1
        return vectors.reshape(self.observation_space.shape or ())
