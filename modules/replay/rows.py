"""Cut the stream of vectorised steps into rows: fixed length, one episode each, padded and masked."""

from dataclasses import dataclass, field

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from modules import keys
from modules.keys import Entry, Spaces, StateSchema
from modules.previous_step import ENTRIES

Cut = tuple[int, int, int, int, bool]  # environment, first column, burn-in steps, steps to learn from, has a row before
NONE, LOST = -1, -2  # in place of the number of the row before: there is none; it lies somewhere else, or is lost
# Stored of a row's first step; the others follow from it. The arm is the same in a whole episode.
FIRST_STEP_KEYS = (keys.PREVIOUS_ACTION, keys.PREVIOUS_REWARD, keys.PREVIOUS_INTRINSIC, keys.ARM)
NEXT_KEYS = (keys.INTRINSIC,)  # of `step_keys`: what a step led to


@dataclass(frozen=True, kw_only=True)
class SequenceSchema:
    """What a row is made of.

    Attributes:
        burn_in: slots before those that are learned from, from which only the recurrent state is recomputed.
        length: slots that are learned from, T.
        overlap: learned slots that neighbouring rows of an episode share; burn-in is shared besides.
        states: the recurrent state, which is stored of the row's first step.
        zeros: a recurrent state that is not stored: each row starts from 0.
        first_step_keys: keys of what is stored of the first step beside it, see `FIRST_STEP_KEYS`.
        step_keys: keys of what is stored of every step, a number each, beside what all rows have.
    """

    burn_in: int = 0
    length: int
    overlap: int = 0
    states: StateSchema = field(default_factory=dict)
    zeros: StateSchema = field(default_factory=dict)
    first_step_keys: tuple[str, ...] = ()
    step_keys: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """Steps of a row."""
        return self.burn_in + self.length

    @property
    def stride(self) -> int:
        """Steps between the starts of neighbouring rows."""
        return self.length - self.overlap

    def fields(self, spaces: Spaces) -> dict[str, Entry]:
        """Everything that the replay stores of a row."""
        n = self.slots
        return {
            keys.OBSERVATION: Entry((n + 1, *spaces.observation_shape), spaces.observation_dtype),
            keys.ACTION: Entry((n,), narrow(spaces.n_actions)),
            keys.REWARD: Entry((n,)),
            keys.TERMINATED: Entry((n,), torch.bool),
            keys.MASK: Entry((n,), torch.bool),
            keys.PREVIOUS_ROW_ID: Entry((), torch.int64),
            **self.states,
            **{key: ENTRIES.get(key, Entry((), torch.int64)) for key in self.first_step_keys},  # which leaves the arm
            **{key: Entry((n,)) for key in self.step_keys},
        }

    def row_bytes(self, spaces: Spaces) -> int:
        """Bytes of a row, however many; nothing is allocated."""
        return sum(entry.bytes for entry in self.fields(spaces).values())

    def template(self, spaces: Spaces) -> TensorDict:
        """Make one empty row."""
        return TensorDict({key: entry.zeros() for key, entry in self.fields(spaces).items()})


def narrow(n_actions: int) -> torch.dtype:
    """The smallest type that holds the numbers of all actions."""
    return torch.uint8 if n_actions <= 2**8 else torch.int16 if n_actions <= 2**15 else torch.int64


class SequenceBuilder:
    """Turns batches [N, T] into rows [R] of `schema.slots` steps and one more observation.

    The learned part of a row starts at an episode's start or `schema.stride` steps after that of the row before; in
    front of it lie `burn_in` steps of the same episode, or padding at the episode's start, so that its first steps
    are learned too. A row never crosses an episode and carries the recurrent state that the agent had at its first
    real step. Since burn-in is no longer than the stride, a row has all of its burn-in steps or none. Steps of rows
    that are not yet complete wait here, so the cut does not depend on how long the batches are.
    """

    def __init__(self, schema: SequenceSchema) -> None:
        self._schema = schema
        self._step_keys = {key: ("next", key) if key in NEXT_KEYS else key for key in schema.step_keys}
        self._stream: TensorDictBase | None = None  # [N, S] steps that a future row may need
        self._start = np.zeros(0, int)  # column where each environment's next learned part starts
        self._follows = np.zeros(0, bool)  # whether the episode has a row before that

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
        needed = self._start - np.where(self._follows, self._schema.burn_in, 0)
        keep = min(int(needed.min()), done.shape[1])
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
        fields = [keys.OBSERVATION, keys.ACTION, *self._schema.states, *self._schema.first_step_keys]
        fields += [("next", key) for key in (keys.OBSERVATION, keys.REWARD, keys.TERMINATED, keys.DONE)]
        new = batch.select(*fields, *self._step_keys.values())
        if self._stream is None:
            self._start = np.zeros(batch.shape[0], int)
            self._follows = np.zeros(batch.shape[0], bool)
            return new
        return torch.cat([self._stream, new], 1)  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]

    def _cut(self, cuts: list[Cut], env: int, end: int, *, closed: bool) -> None:
        """Cut environment `env` up to column `end`; `closed` means that its episode ends there."""
        schema, start, follows = self._schema, int(self._start[env]), bool(self._follows[env])

        def add(steps: int) -> None:
            burn_in = schema.burn_in if follows else 0
            cuts.append((env, start - burn_in, burn_in, steps, follows))

        while start + schema.length <= end:
            add(schema.length)
            start, follows = start + schema.stride, True
        if closed:
            learned = start + (schema.overlap if follows else 0)
            if end > learned:
                add(end - start)
            start, follows = end, False
        self._start[env], self._follows[env] = start, follows

    def _gather(self, stream: TensorDictBase, cuts: list[Cut]) -> TensorDict:
        schema = self._schema
        env, start, burn_in, steps, follows = torch.as_tensor(np.asarray(cuts, int).reshape(-1, 5)).unbind(1)
        offset = torch.arange(schema.slots) - (schema.burn_in - burn_in)[:, None]
        mask = (offset >= 0) & (offset < (burn_in + steps)[:, None])
        last = start + burn_in + steps - 1
        column = torch.minimum(start[:, None] + offset.clamp(min=0), last[:, None])
        before = stream[keys.OBSERVATION][env[:, None], column]
        after = stream["next", keys.OBSERVATION][env, last].unsqueeze(1)
        ended = (offset >= (burn_in + steps)[:, None]).reshape(*mask.shape, *[1] * (before.ndim - 2))
        where = env[:, None], column
        return TensorDict(
            {
                keys.OBSERVATION: torch.cat((torch.where(ended, after, before), after), 1),
                keys.ACTION: stream[keys.ACTION][where],
                keys.REWARD: stream["next", keys.REWARD][where].squeeze(-1),
                keys.TERMINATED: stream["next", keys.TERMINATED][where].squeeze(-1),
                keys.MASK: mask,
                keys.ENVIRONMENT: env,
                keys.FOLLOWS: follows.bool(),
                **{key: stream[key][env, start] for key in (*schema.states, *schema.first_step_keys)},
                **{key: stream[place][where].reshape(mask.shape) for key, place in self._step_keys.items()},
            },
            batch_size=[len(cuts)],
        )


class Links:
    """Says of the rows of one stream, in the order in which they were cut, which row each of them follows.

    Args:
        joins: whether the first rows of the stream may have been somewhere else.
    """

    def __init__(self, *, joins: bool = False) -> None:
        self._joins = joins
        self._newest: dict[int, int] = {}  # number of each environment's newest row

    def link(self, rows: TensorDict, first: int) -> TensorDict:
        """Number `rows` [R] from `first` on, and put the number of the row before in place of the environment's."""
        before: list[int] = []
        environments, follows = rows[keys.ENVIRONMENT].tolist(), rows[keys.FOLLOWS].tolist()
        for number, (environment, follow) in enumerate(zip(environments, follows, strict=True), first):
            lost = self._joins and environment not in self._newest
            before.append(NONE if not follow else LOST if lost else self._newest[environment])
            self._newest[environment] = number
        linked = rows.exclude(keys.ENVIRONMENT, keys.FOLLOWS)
        return linked.set(keys.PREVIOUS_ROW_ID, torch.tensor(before, dtype=torch.int64))
