"""Replay in shards, each on a machine of a cluster, drawn from as if it were one."""

import logging
import pickle
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules import keys
from modules.process import versions
from modules.replay.base import Replay, ReplayContext, RowsLost
from modules.replay.cut_rows import CutRows
from modules.replay.ray_shards import ShardLost, Shards
from modules.replay.shard import ShardStatus
from modules.replay.specs import ShardedSpec

log = logging.getLogger("recall")
IN_FLIGHT = 2  # batches that are drawn while the learner is busy with another
UNANSWERED = 64  # questions to a shard that it may be behind
ROW_ID_STRIDE = 2**20  # more shards than a run ever has: a row's number is that in its shard times this + its shard's


@dataclass(eq=False)
class ShardHandle:
    """A shard as the learner sees it.

    `serial` is its number among all that there were; `unsaved` counts the rows that it was given since the last save;
    `questions` are those not answered yet; `numbers` and `priorities` are those of rows that it is still to be told.
    """

    serial: int
    folder: str
    machine: str
    actor: Any
    status: ShardStatus = field(default_factory=ShardStatus)
    unsaved: int = 0
    questions: deque[Any] = field(default_factory=deque)
    numbers: list[Tensor] = field(default_factory=list)
    priorities: list[Tensor] = field(default_factory=list)

    def note(self, status: ShardStatus) -> None:
        """Take note of its status, unless a newer one has come."""
        if status.answers > self.status.answers:
            self.status = status

    def take_priorities(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and priorities that it is to be told, once."""
        numbers = torch.cat([torch.zeros(0, dtype=torch.int64), *self.numbers])
        priorities = torch.cat([torch.zeros(0), *self.priorities])
        self.numbers, self.priorities = [], []
        return numbers.numpy(), priorities.numpy()


class Order(NamedTuple):
    """Draws that a shard was asked for: with which share of all, and the question."""

    shard: ShardHandle
    share: float
    question: Any


class Part(NamedTuple):
    """Rows [B] of one shard, and the probability with which each was drawn, [B]."""

    shard: ShardHandle
    rows: dict[str, Tensor]
    probability: Tensor


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
        self._context = replace(context, directory=context.directory.absolute(), joins_streams=True)
        self._ray = shards
        self._generator = torch.Generator().manual_seed(context.seed)
        self._importance = settings.importance_at(0)
        self._losses = 0
        self._prefetched: deque[list[Order]] = deque()
        self._shard_of: dict[int, int] = {}  # of each stream the place in `_shards`
        self._fed = [0] * settings.shards  # rows so far
        saved = context.saved or {"shards": [None] * settings.shards, "serials": 0}
        self._serials: int = saved["serials"]
        self._shards = [self._open(number, state) for number, state in enumerate(saved["shards"])]
        self._poll(wait=True)

    def __len__(self) -> int:
        return sum(shard.status.rows for shard in self._shards)

    @property
    def must_save(self) -> bool:
        return any(shard.unsaved > shard.status.save_at for shard in self._shards)

    def anneal(self, frames: int) -> None:
        self._importance = self.settings.importance_at(frames)

    def extend(self, batch: TensorDictBase, stream: int = 0, rows: CutRows | None = None) -> None:
        """Hand the rows on to the shard of their stream; a new stream has the one that was given fewest."""
        assert rows is not None  # see `ShardedSpec.needs`
        if count := rows.entries.shape[0]:
            number = self._shard_of.setdefault(stream, int(np.argmin(self._fed)))
            self._fed[number] += count
            shard = self._shards[number]
            shard.unsaved += count
            shard.questions.append(self._ray.ask(shard.actor, "extend", stream, rows.pack()))
        self._poll()

    def truncate(self) -> None:
        """The actors have the running episodes."""

    def sample(self) -> TensorDict | None:
        """Hand out a batch [B] that was ordered two batches ago, and order another; None if no row is left."""
        self._poll()
        while len(self._prefetched) <= IN_FLIGHT and (order := self._order(self.settings.batch_rows)):
            self._prefetched.append(order)
        found = self._take(self._prefetched.popleft()) if self._prefetched else []
        while missing := self.settings.batch_rows - sum(len(part.probability) for part in found):  # of a lost shard
            if not (order := self._order(missing)):
                return None
            found += self._take(order)
        return self._join(found)

    def update(self, rows: TensorDictBase, errors: Tensor) -> None:
        """Take note of the priorities that follow, for the next questions to the shards of the rows."""
        priorities = self.settings.priorities(rows, errors)
        serials, numbers = rows[keys.ROW] % ROW_ID_STRIDE, rows[keys.ROW] // ROW_ID_STRIDE
        for shard in self._shards:
            mine = serials == shard.serial
            if mine.any():
                shard.numbers.append(numbers[mine])
                shard.priorities.append(priorities[mine])

    def sample_with_prefix(self, count: int, generator: torch.Generator) -> Iterator[TensorDict]:
        """As `SequenceReplay` does, from one shard, each as likely as its share of the rows."""
        rows = torch.tensor([float(shard.status.rows) for shard in self._shards])
        if not rows.any():
            return
        shard = self._shards[int(torch.multinomial(rows, 1, generator=generator))]
        seed = int(torch.randint(2**31, (1,), generator=generator))
        try:
            for packed in self._ray.history(shard.actor, count, seed):
                yield CutRows.unpack(packed).whole()
        except ShardLost as error:
            self._replace(shard, error)
            raise RowsLost(str(error)) from error

    def measures(self) -> dict[str, float]:
        """Of the shards the means; how full they are together."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for _, answer in self._ask_all("measures"):
            for name, value in answer.items():
                found[name].append(value)
        self._poll(wait=True)
        return {**{name: sum(values) / len(values) for name, values in found.items()}, **super().measures()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of each shard; None of one that was just lost."""
        for shard in self._shards:
            shard.questions.append(self._ray.ask(shard.actor, "set_priorities", *shard.take_priorities()))
        numbers = {shard.serial: number for number, shard in enumerate(self._shards)}
        states: list[Any] = [None] * len(self._shards)
        for shard, state in self._ask_all("state_dict"):
            states[numbers[shard.serial]] = {"folder": shard.folder, "machine": shard.machine, "replay": state}
        for shard in self._shards:
            shard.unsaved = 0
        self._poll(wait=True)
        return {"shards": states, "serials": self._serials, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on drawing as after the save; the shards went back to it when they were opened."""
        self._generator.set_state(state["generator"])

    def _open(self, number: int, state: Mapping[str, Any] | None) -> ShardHandle:
        """Start the shard at place `number`, with the rows that were saved if they are still there."""
        if state:
            shard = self._start(number, state["folder"], state["machine"], state["replay"])
            with suppress(ShardLost):  # then it is not there either
                if self._ray.answer(self._ray.ask(shard.actor, "is_there")):
                    return self._asked_for_status(shard)
            log.warning("%s of the replay is not on %s; an empty one takes its place", shard.folder, shard.machine)
        return self._asked_for_status(self._start(number, f"shard_{number}_{self._serials}", "", None))

    def _asked_for_status(self, shard: ShardHandle) -> ShardHandle:
        shard.questions.append(self._ray.ask(shard.actor, "status"))
        return shard

    def _start(self, number: int, folder: str, machine: str, saved: Mapping[str, Any] | None) -> ShardHandle:
        serial, self._serials = self._serials, self._serials + 1
        directory, seed = self._context.directory / folder, self._context.seed + serial
        context = replace(self._context, directory=directory, seed=seed, saved=saved)
        task = pickle.dumps((versions(), pickle.dumps((self.settings.of_a_shard, context))))
        actor, machine = self._ray.start(task, number, machine)
        return ShardHandle(serial, folder, machine, actor)

    def _poll(self, *, wait: bool = False) -> None:
        """Take in the answers that are there; `wait`: all."""
        for shard in tuple(self._shards):
            try:
                while shard.questions and (
                    wait or len(shard.questions) > UNANSWERED or self._ray.answered(shard.questions[0])
                ):
                    shard.note(self._ray.answer(shard.questions.popleft()))
            except ShardLost as error:
                self._replace(shard, error)

    def _ask_all(self, method: str) -> list[tuple[ShardHandle, Any]]:
        """The answers of all shards but those that are lost."""
        questions = [(shard, self._ray.ask(shard.actor, method)) for shard in self._shards]
        answers = []
        for shard, question in questions:
            try:
                answers.append((shard, self._ray.answer(question)))
            except ShardLost as error:
                self._replace(shard, error)
        return answers

    def _order(self, count: int) -> list[Order]:
        """Ask for `count` rows, and tell the shards that are asked what was learned of theirs; [] if there are none."""
        masses = torch.tensor([shard.status.mass for shard in self._shards], dtype=torch.float64)
        if not masses.sum():
            return []
        shares = masses / masses.sum()
        drawn = torch.multinomial(shares, count, replacement=True, generator=self._generator)
        counts = torch.bincount(drawn, minlength=len(self._shards))
        return [
            Order(shard, share, self._ray.ask(shard.actor, "exchange", *shard.take_priorities(), wanted))
            for shard, share, wanted in zip(self._shards, shares.tolist(), counts.tolist(), strict=True)
            if wanted
        ]

    def _take(self, orders: Sequence[Order]) -> list[Part]:
        """Wait for what was ordered; nothing comes from a shard that is lost."""
        found = []
        for shard, share, question in orders:
            try:
                drawn, status = self._ray.answer(question)
            except ShardLost as error:
                self._replace(shard, error)
                continue
            shard.note(status)
            if drawn is not None:
                probability = share * torch.tensor(drawn.masses) / status.mass
                found.append(Part(shard, dict(CutRows.unpack(drawn.rows).whole().items()), probability))
        return found

    def _join(self, parts: Sequence[Part]) -> TensorDict:
        """One batch of what came, with numbers and weights of its own."""
        rows = {key: torch.cat([part.rows[key] for part in parts]) for key in parts[0].rows}
        serials = torch.cat([torch.full((len(part.probability),), part.shard.serial) for part in parts])
        weights = torch.cat([part.probability for part in parts]) ** -self._importance
        rows[keys.ROW] = rows[keys.ROW] * ROW_ID_STRIDE + serials
        rows[keys.WEIGHT] = (weights / weights.max()).float()
        return TensorDict(rows, batch_size=[len(serials)])

    def _replace(self, lost: ShardHandle, error: ShardLost) -> None:
        """Start an empty shard in the place of one that is lost, unless that was done."""
        number = next((number for number, shard in enumerate(self._shards) if shard is lost), None)
        if number is None:
            return
        self._losses += 1
        if self._losses > self.settings.most_losses:
            raise ShardLost(
                f"{lost.folder} of the replay was lost, as were {self._losses - 1} shards before it, and "
                f"replay.most_losses={self.settings.most_losses}: {error}"
            ) from None
        self._shards[number] = new = self._open(number, None)
        new.status = new.status._replace(save_at=lost.status.save_at)  # until it tells its own
        log.warning(
            "%s of the replay was lost with its %d rows: %s; %s takes its place",
            *(lost.folder, lost.status.rows, error, new.folder),
        )
