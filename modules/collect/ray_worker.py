"""A worker on a cluster: what runs in a process of Ray."""

import pickle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class RayWorker:
    """Acts on orders. What went wrong in making what acts is the error of the first order, not of the constructor.

    Args:
        task: pickled, the learner's `versions`, and, pickled again since only the same can read it, the function that
            makes the actor of a place, the settings and the keys of a batch.
        place: of the worker among all.
        stream: number of its random streams.
    """

    def __init__(self, task: bytes, place: int, stream: int) -> None:
        self._task, self._place, self._stream = task, place, stream
        self._collection: Any = None

    def work(self, words: bytes, weights: NDArray[np.float32]) -> tuple[bytes, dict[Any, NDArray[Any]]]:
        """Carry out pickled orders, of which the last asks for a batch; return `Filled`, pickled, and the batch.

        Raises:
            Exited: an environment called `sys.exit`, which Ray would take for the end that was asked for.
        """
        from modules.errors import Exited, told

        try:
            return self._work(words, weights)
        except SystemExit as error:
            raise Exited(told(error)) from error

    def _work(self, words: bytes, weights: NDArray[np.float32]) -> tuple[bytes, dict[Any, NDArray[Any]]]:
        from modules.collect.worker import ActorInWorker
        from modules.process import refuse_other_versions, tune

        if self._collection is None:
            tune(threads=1)
            learners, task = pickle.loads(self._task)
            refuse_other_versions(learners)
            make, settings, self._keys = pickle.loads(task)
            self._collection = ActorInWorker(make(self._place), settings, self._stream)
        newest = torch.from_numpy(weights.copy()).unsqueeze(0)
        *_, (batch, filled) = (self._collection.carry_out(order, newest) for order in pickle.loads(words))
        batch = batch.select(*self._keys)
        arrays = {key: value.numpy() for key, value in batch.items(include_nested=True, leaves_only=True)}
        return pickle.dumps(filled), arrays
