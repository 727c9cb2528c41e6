"""Cut the stream of vectorised steps into rows: fixed length, one episode each, tails padded and masked."""

from collections.abc import Mapping

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from modules import keys
from modules.keys import Spaces

Cut = tuple[int, int, int]  # environment, first column in the stream, number of steps


def row_template(spaces: Spaces, states: Mapping[str, tuple[int, ...]], length: int) -> TensorDict:
    """Make one empty row: the schema of everything that the replay stores."""
    return TensorDict(
        {
            keys.OBSERVATION: torch.zeros(length + 1, *spaces.observation_shape, dtype=spaces.observation_dtype),
            keys.ACTION: torch.zeros(length, dtype=torch.int64),
            keys.REWARD: torch.zeros(length),
            keys.TERMINATED: torch.zeros(length, dtype=torch.bool),
            keys.MASK: torch.zeros(length, dtype=torch.bool),
            **{key: torch.zeros(shape) for key, shape in states.items()},
        }
    )


class RowCutter:
    """Turns batches [N, T] into rows [R] of `length` steps and `length`+1 observations.

    A row starts at an episode's start or `length − overlap` steps after the row before it, never crosses an
    episode, and carries the recurrent state that the agent had at its first step. Steps of rows that are not
    yet complete wait here, so the cut does not depend on how long the batches are.
    """

    def __init__(self, *, length: int, overlap: int, states: tuple[str, ...]) -> None:
        self._length, self._stride, self._overlap = length, length - overlap, overlap
        self._states = states
        self._stream: TensorDictBase | None = None  # [N, S] steps that a future row may need
        self._start = np.zeros(0, int)  # column where each environment's next row starts
        self._fresh = np.zeros(0, bool)  # whether that row starts an episode

    def push(self, batch: TensorDictBase) -> TensorDict:
        """Add a batch [N, T] as the collector yields it; return the rows that it completed, [R]."""
        seen = 0 if self._stream is None else self._stream.shape[1]
        stream = self._extend(batch)
        done = np.asarray(stream["next", keys.DONE].squeeze(-1).cpu())
        cuts: list[Cut] = []
        for env in range(done.shape[0]):
            for end in seen + np.flatnonzero(done[env, seen:]) + 1:
                self._cut(cuts, env, int(end), closed=True)
            self._cut(cuts, env, done.shape[1], closed=False)
        rows = self._gather(stream, cuts)
        keep = min(int(self._start.min()), done.shape[1])
        self._stream = stream[:, keep:].clone()
        self._start -= keep
        return rows

    def flush(self) -> TensorDict | None:
        """End all running episodes here (they count as truncated) and return their tails; then forget them."""
        stream, self._stream = self._stream, None
        if stream is None:
            return None
        cuts: list[Cut] = []
        for env in range(stream.shape[0]):
            self._cut(cuts, env, stream.shape[1], closed=True)
        return self._gather(stream, cuts)

    def _extend(self, batch: TensorDictBase) -> TensorDictBase:
        fields = [keys.OBSERVATION, keys.ACTION, *self._states]
        fields += [("next", key) for key in (keys.OBSERVATION, keys.REWARD, keys.TERMINATED, keys.DONE)]
        new = batch.select(*fields)
        if self._stream is None:
            self._start = np.zeros(batch.shape[0], int)
            self._fresh = np.ones(batch.shape[0], bool)
            return new
        return torch.cat([self._stream, new], 1)  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]

    def _cut(self, cuts: list[Cut], env: int, end: int, *, closed: bool) -> None:
        """Cut environment `env` up to column `end`; `closed` means that its episode ends there."""
        start = int(self._start[env])
        while start + self._length <= end:
            cuts.append((env, start, self._length))
            start += self._stride
            self._fresh[env] = False
        if closed:
            learned = start + (0 if self._fresh[env] else self._overlap)
            if end > learned:
                cuts.append((env, start, end - start))
            start, self._fresh[env] = end, True
        self._start[env] = start

    def _gather(self, stream: TensorDictBase, cuts: list[Cut]) -> TensorDict:
        env, start, steps = torch.as_tensor(np.asarray(cuts, int).reshape(-1, 3)).unbind(1)
        offset = torch.arange(self._length)
        mask = offset < steps[:, None]
        last = start + steps - 1
        column = torch.minimum(start[:, None] + offset, last[:, None])
        before = stream[keys.OBSERVATION][env[:, None], column]
        after = stream["next", keys.OBSERVATION][env, last].unsqueeze(1)
        wide = mask.reshape(*mask.shape, *[1] * (before.ndim - 2))
        where = env[:, None], column
        return TensorDict(
            {
                keys.OBSERVATION: torch.cat((torch.where(wide, before, after), after), 1),
                keys.ACTION: stream[keys.ACTION][where],
                keys.REWARD: stream["next", keys.REWARD][where].squeeze(-1),
                keys.TERMINATED: stream["next", keys.TERMINATED][where].squeeze(-1),
                keys.MASK: mask,
                **{key: stream[key][env, start] for key in self._states},
            },
            batch_size=[len(cuts)],
        )
