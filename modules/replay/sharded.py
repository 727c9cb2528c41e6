"""Replay in shards, each on a machine of a cluster, drawn from as if it were one."""

import logging
import pickle
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules import keys
from modules.replay.base import Replay, ReplayContext
from modules.replay.cut_rows import CutRows
from modules.replay.ray_shards import ShardLost, Shards
from modules.replay.shard import Told
from modules.replay.specs import ShardedSpec

log = logging.getLogger("recall")
IN_FLIGHT = 2  # batches that are drawn while the learner is busy with another
UNANSWERED = 64  # questions to a shard that it may be behind
SHARDS = 2**20  # more than a run ever has: a row's number is that within its shard times this, and its shard's


@dataclass(eq=False)
class Place:
    """A shard as the learner sees it.

    `serial` is its number among all that there were, `told` what it told last; `questions` are those not answered yet,
    `numbers` and `priorities` those of rows that it is to hear of.
    """

    serial: int
    folder: str
    handle: Any
    told: Told = field(default_factory=Told)
    questions: deque[Any] = field(default_factory=deque)
    numbers: list[Tensor] = field(default_factory=list)
    priorities: list[Tensor] = field(default_factory=list)

    def hear(self, told: Told) -> None:
        """Take note of what it tells, unless it has told something newer."""
        if told.answers > self.told.answers:
            self.told = told

    def news(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and priorities that it is to hear of, once."""
        numbers = torch.cat([torch.zeros(0, dtype=torch.int64), *self.numbers])
        priorities = torch.cat([torch.zeros(0), *self.priorities])
        self.numbers, self.priorities = [], []
        return numbers.numpy(), priorities.numpy()


class Order(NamedTuple):
    """Draws that a shard was asked for: with which share of all, and the question."""

    place: Place
    share: float
    question: Any


class Part(NamedTuple):
    """Rows [B] of one shard, and the probability with which each was drawn, [B]."""

    place: Place
    rows: Mapping[str, np.ndarray]
    probability: np.ndarray


class ShardedReplay(Replay):
    """Prioritised rows in several shards; each stream of rows has one.

    A shard's mass is the sum of those of its rows, p^exponent. Each draw is of a shard with the share that its mass had
    when it was last told, and then of a row in proportion to its mass there; the product is the probability P(i) of
    `Prioritised`, and the one by which rows are weighed. So masses that are a few steps old cost nothing but a draw
    that is a little off.

    Args:
        settings: of all shards together.
        context: of the run.
        shards: where they are.

    Raises:
        UsageError: a shard cannot be opened.
    """

    def __init__(self, settings: ShardedSpec, context: ReplayContext, shards: Shards) -> None:
        self.settings = settings
        self._context, self._shards = context, shards
        self._generator = torch.Generator().manual_seed(context.seed)
        self._importance = settings.importance_at(0)
        self._losses = 0
        self._flying: deque[list[Order]] = deque()
        saved = context.saved or {"shards": [None] * settings.shards, "serials": 0}
        self._serials: int = saved["serials"]
        self._places = [self._open(number, state) for number, state in enumerate(saved["shards"])]
        self._hear(wait=True)
        for place, state in zip(self._places, saved["shards"], strict=True):
            if state and not place.told.rows:
                log.warning("%s of the replay is not where it was, and begins empty", place.folder)

    def __len__(self) -> int:
        return sum(place.told.rows for place in self._places)

    @property
    def must_save(self) -> bool:
        return any(place.told.must_save for place in self._places)

    def anneal(self, frames: int) -> None:
        self._importance = self.settings.importance_at(frames)

    def extend(self, batch: TensorDictBase, stream: int = 0, rows: CutRows | None = None) -> None:
        """Hand the rows on to the shard of their stream."""
        assert rows is not None  # see `ShardedSpec.needs`
        if rows.entries.shape[0]:
            place = self._places[stream % len(self._places)]
            place.questions.append(self._shards.ask(place.handle, "extend", stream, rows.pack()))
        self._hear()

    def truncate(self) -> None:
        """The actors have the running episodes."""

    def updates_due(self, frames: int) -> float:
        planned = self.settings.planned_updates(frames)
        return planned if planned is not None and len(self) >= self.settings.batch_rows else 0.0

    def sample(self) -> TensorDict:
        """Hand out a batch [B] that was ordered two batches ago, and order another."""
        self._hear()
        while len(self._flying) <= IN_FLIGHT:
            self._flying.append(self._order(self.settings.batch_rows))
        found = self._take(self._flying.popleft())
        while missing := self.settings.batch_rows - sum(len(part.probability) for part in found):  # of a lost shard
            found += self._take(self._order(missing))
        return self._join(found)

    def update(self, rows: TensorDictBase, errors: Tensor) -> None:
        """Take note of the priorities that follow, for the next questions to the shards of the rows."""
        priorities = self.settings.priorities(rows, errors)
        serials, numbers = rows[keys.ROW] % SHARDS, rows[keys.ROW] // SHARDS
        for place in self._places:
            mine = serials == place.serial
            if mine.any():
                place.numbers.append(numbers[mine])
                place.priorities.append(priorities[mine])

    def sample_with_prefix(self, count: int, generator: torch.Generator) -> Iterator[TensorDict]:
        """As `SequenceReplay` does, from one shard, each as likely as its share of the rows."""
        rows = torch.tensor([float(place.told.rows) for place in self._places])
        if not rows.any():
            return
        place = self._places[int(torch.multinomial(rows, 1, generator=generator))]
        seed = int(torch.randint(2**31, (1,), generator=generator))
        try:
            for arrays in self._shards.history(place.handle, count, seed):
                part = {key: torch.tensor(array) for key, array in arrays.items()}
                yield TensorDict(part, batch_size=[len(part[keys.MASK])])
        except ShardLost as error:
            self._replace(place, error)

    def measures(self) -> dict[str, float]:
        """Of the shards the means; how full they are together."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for answer in self._ask_all("measures"):
            for name, value in (answer or {}).items():
                found[name].append(value)
        self._hear(wait=True)
        return {**{name: sum(values) / len(values) for name, values in found.items()}, **super().measures()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of each shard; None of one that was just lost."""
        for place in self._places:
            place.questions.append(self._shards.ask(place.handle, "set_priorities", *place.news()))
        states = self._ask_all("state_dict")
        for place in self._places:
            place.questions.append(self._shards.ask(place.handle, "tell"))
        self._hear(wait=True)
        shards = [
            None if state is None else {"folder": place.folder, "replay": state}
            for place, state in zip(self._places, states, strict=True)
        ]
        return {"shards": shards, "serials": self._serials, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on drawing as after the save; the shards went back to it when they were opened."""
        self._generator.set_state(state["generator"])

    def _open(self, number: int, state: Mapping[str, Any] | None) -> Place:
        serial, self._serials = self._serials, self._serials + 1
        folder = state["folder"] if state else f"shard_{number}_{serial}"
        context = replace(
            self._context,
            directory=self._context.directory / folder,
            seed=self._context.seed + serial,
            saved=state["replay"] if state else None,
        )
        place = Place(serial, folder, self._shards.hire(pickle.dumps((self.settings.of_a_shard, context))))
        place.questions.append(self._shards.ask(place.handle, "tell"))
        return place

    def _hear(self, *, wait: bool = False) -> None:
        """Take in the answers that are there; `wait`: all."""
        for place in tuple(self._places):
            try:
                while place.questions and (
                    wait or len(place.questions) > UNANSWERED or self._shards.answered(place.questions[0])
                ):
                    place.hear(self._shards.answer(place.questions.popleft()))
            except ShardLost as error:
                self._replace(place, error)

    def _ask_all(self, method: str) -> list[Any]:
        """The answers of all shards; None of one that is lost."""
        questions = [(place, self._shards.ask(place.handle, method)) for place in self._places]
        answers = []
        for place, question in questions:
            try:
                answers.append(self._shards.answer(question))
            except ShardLost as error:
                self._replace(place, error)
                answers.append(None)
        return answers

    def _order(self, count: int) -> list[Order]:
        """Ask for `count` rows, and tell the shards that are asked what was learned of theirs."""
        masses = torch.tensor([place.told.mass for place in self._places], dtype=torch.float64)
        if not masses.sum():
            raise ShardLost("no shard of the replay has rows any more")
        shares = masses / masses.sum()
        drawn = torch.multinomial(shares, count, replacement=True, generator=self._generator)
        counts = torch.bincount(drawn, minlength=len(self._places))
        return [
            Order(place, share, self._shards.ask(place.handle, "exchange", *place.news(), wanted))
            for place, share, wanted in zip(self._places, shares.tolist(), counts.tolist(), strict=True)
            if wanted
        ]

    def _take(self, orders: Sequence[Order]) -> list[Part]:
        """Wait for what was ordered; nothing comes from a shard that is lost."""
        found = []
        for place, share, question in orders:
            try:
                drawn, told = self._shards.answer(question)
            except ShardLost as error:
                self._replace(place, error)
                continue
            place.hear(told)
            if drawn is not None:
                found.append(Part(place, drawn.rows, share * drawn.masses / told.mass))
        return found

    def _join(self, parts: Sequence[Part]) -> TensorDict:
        """One batch of what came, with numbers and weights of its own."""
        rows = {key: torch.from_numpy(np.concatenate([part.rows[key] for part in parts])) for key in parts[0].rows}
        serials = torch.cat([torch.full((len(part.probability),), part.place.serial) for part in parts])
        weights = torch.from_numpy(np.concatenate([part.probability for part in parts])) ** -self._importance
        rows[keys.ROW] = rows[keys.ROW] * SHARDS + serials
        rows[keys.WEIGHT] = (weights / weights.max()).float()
        return TensorDict(rows, batch_size=[len(serials)])

    def _replace(self, lost: Place, error: ShardLost) -> None:
        """Put an empty shard in the place of one that is lost, unless that was done."""
        number = next((number for number, place in enumerate(self._places) if place is lost), None)
        if number is None:
            return
        self._losses += 1
        if self._losses > self.settings.most_losses:
            raise ShardLost(
                f"{lost.folder} of the replay was lost, as were {self._losses - 1} shards before it, and "
                f"replay.most_losses={self.settings.most_losses}: {error}"
            ) from None
        self._places[number] = new = self._open(number, None)
        log.warning(
            "%s of the replay was lost with its %d rows: %s; %s takes its place",
            lost.folder,
            lost.told.rows,
            error,
            new.folder,
        )
