"""Replay of fixed-length rows in one memory-mapped ring on disk, sampled uniformly or by priority."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules import keys
from modules.keys import Symmetry
from modules.previous_step import SOURCES, unfold
from modules.replay.base import Replay, ReplayContext
from modules.replay.cut_rows import CutRows
from modules.replay.intact import Mark, chain, refuse_impossible_rows, refuse_lost_rows
from modules.replay.rows import Links, SequenceBuilder, SequenceSchema
from modules.replay.specs import SequenceSpec
from modules.replay.storage import StorageContext


class SequenceReplay(Replay):
    """Ring of rows on disk that is its own snapshot.

    The ring is longer than what the sampler draws from: what a save saw is still there until the next one, so a
    checkpoint stores only the count of rows written, the sampler's state and no rows (those of running episodes
    never cross a save).

    Attributes:
        save_at: rows after a save, of which one more means that the next must not wait.
    """

    def __init__(self, settings: SequenceSpec, context: ReplayContext) -> None:
        """Open the ring in the context's directory, or make it."""
        c, interval = context, settings.interval_rows(context.save_every, context.batch_frames)
        self.settings = settings
        self._schema = c.schema
        self._cutters: dict[int, SequenceBuilder] = {}
        self._links: defaultdict[int, Links] = defaultdict(partial(Links, joins=c.joins_streams))  # of each stream
        self._mirror = Mirror(c.symmetry) if settings.mirror and c.symmetry is not None else None
        self._directory, self._spaces, self._joins_streams = c.directory, c.spaces, c.joins_streams
        self._sampler = settings.sampler(c.seed)
        self._importance = settings.importance_at(0)
        self._cut: CutRows | None = None  # rows that were cut and are not written yet
        self._written = 0
        self._saved = 0
        template, rows = self._schema.template(c.spaces), settings.ring_rows(c.save_every, c.batch_frames)
        fewest = settings.ring_rows(1, c.batch_frames)
        place = StorageContext(directory=c.directory, template=template, rows=rows, fewest=fewest)
        self._storage = settings.storage.build(place)
        self._ring = self._storage.max_size
        # One batch of one-step episodes, with the tails of those that run, must still fit the interval.
        self.save_at = (self._ring - settings.capacity_rows) // 2 - 2 * c.batch_frames
        written = c.saved["written"] + (1 + c.newer) * interval if c.saved else 0  # at most, if nothing else tells
        self._mark = Mark(c.directory, run=c.run_id, written=written)

    def __len__(self) -> int:
        return len(self._sampler)

    @property
    def must_save(self) -> bool:
        """Tell whether so many rows were written since the last save that the next one must not wait."""
        return self._written - self._saved > self.save_at

    def anneal(self, frames: int) -> None:
        """Set the exponent of the importance weights for frame `frames`."""
        self._importance = self.settings.importance_at(frames)

    def extend(self, batch: TensorDictBase, stream: int = 0, rows: CutRows | None = None) -> None:
        """Cut a batch [N, T] into rows and store those that it completes; each `stream` has environments of its own."""
        self._write_what_was_cut()
        if rows is None:
            rows = CutRows(self._cutters.setdefault(stream, SequenceBuilder(self._schema)).push(batch))
        self._write(rows, stream)

    def truncate(self) -> None:
        """End all running episodes here and store their tails."""
        self._write_what_was_cut()
        for stream in sorted(self._cutters):
            rows = self._cutters[stream].flush()
            if rows is not None:
                self._write(CutRows(rows), stream)

    def sample(self) -> TensorDict:
        """Draw a batch of rows [B] with replacement; by priority, they come with their number and weight."""
        return self.draw(self.settings.batch_rows)

    def draw(self, count: int) -> TensorDict:
        """The same, `count` rows."""
        number, weight = self._sampler.draw(count, self._importance)
        rows = self._read(number)
        if self._mirror is not None:
            self._mirror(rows, torch.rand(len(number), generator=self._sampler.generator) < 0.5)
        if self._schema.first_step_keys:
            rows |= previous_steps(rows, self._schema)
        if self.settings.cross_mixture:
            rows[keys.ARM] = self._mix_arms(rows[keys.ARM])
        if self.settings.by_priority:
            rows |= {keys.ROW: number, keys.WEIGHT: weight}
        return TensorDict(rows, batch_size=[len(number)])

    def update(self, rows: TensorDictBase, errors: Tensor) -> None:
        """Give sampled `rows` [B] the priorities that follow from their |δ| [B, T], if rows have priorities."""
        if self.settings.by_priority:
            self.set_priorities(rows[keys.ROW], self.settings.priorities(rows, errors))

    def set_priorities(self, numbers: Tensor, priorities: Tensor) -> None:
        """Give the rows `numbers` [B] other priorities [B]; those that have left the replay are ignored."""
        self._sampler.update(numbers, priorities)

    def masses(self, numbers: Tensor) -> tuple[Tensor, float]:
        """What the rows `numbers` [B] are drawn in proportion to, [B], and the sum of it over all rows."""
        return self._sampler.masses(numbers)

    def sample_with_prefix(self, count: int, generator: torch.Generator) -> Iterator[TensorDict]:
        """Draw rows that do not start their episode, and look up all that came before them in it.

        Yields:
            Batches of rows, oldest first, one at a time: a long episode of pictures takes gigabytes. Row r of one
            comes right before row r of the next, which may have further rows behind: the first of their episodes. The
            last batch is what was drawn, at most `count`. There is none if no row that was drawn has its whole
            history in the replay.
        """
        drawn = torch.randint(self._written - len(self), self._written, (count,), generator=generator)
        chains = [chain for number in drawn.tolist() if len(chain := self._chain(number)) > 1]
        chains.sort(key=len, reverse=True)
        for back in range(max(map(len, chains), default=0) - 1, -1, -1):
            rows = self._read(torch.tensor([chain[back] for chain in chains if len(chain) > back]))
            rows |= previous_steps(rows, self._schema)
            yield TensorDict(rows, batch_size=[len(rows[keys.MASK])])

    def _chain(self, number: int) -> list[int]:
        """Numbers of a row and those before it in its episode, newest first; empty if one is no longer there.

        What is there must not depend on whether the run was killed since the last save: a killed process may have
        written over all rows but those that this save refers to.
        """
        before, oldest = self._storage.fields[keys.PREVIOUS_ROW_ID], self._saved - self.settings.capacity_rows
        try:
            return list(chain(before, number, oldest=oldest))
        except LookupError:
            return []

    def measures(self) -> dict[str, float]:
        window = torch.arange(self._written - len(self), self._written)
        return {**super().measures(), **self._storage.measures(window)}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs of the replay; taking it marks the rows written so far as saved."""
        self._saved = self._written
        return {"written": self._written, "sampler": self._sampler.state_dict()}

    def refuse_damage(self, state: Mapping[str, Any]) -> None:
        """Raise `UsageError` if not all rows that a checkpoint's `state` refers to are there as they were written."""
        written = state["written"]
        window = min(written, self.settings.capacity_rows)
        refuse_lost_rows(self._directory, self._mark, written=written, window=window, ring=self._ring)
        numbers, entries = torch.arange(written - window, written), self._schema.fields(self._spaces)
        refuse_impossible_rows(self._storage, entries, numbers, self._spaces, lost=self._joins_streams)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Move the cursor back to where the checkpoint saw it."""
        self._written = self._saved = state["written"]
        self._storage.go_back(self._written, self._mark.written)
        self._sampler.load_state_dict(state["sampler"])

    def _mix_arms(self, arms: Tensor) -> Tensor:
        """Replace the arms [B, T+1] of some rows by another arm, which then learns from them too."""
        generator = self._sampler.generator
        mixed = torch.rand(len(arms), generator=generator) < self.settings.cross_mixture
        further = torch.randint(1, self._spaces.n_arms, (len(arms),), generator=generator)
        return torch.where(mixed.unsqueeze(1), (arms + further.unsqueeze(1)) % self._spaces.n_arms, arms)

    def _read(self, number: Tensor) -> dict[str, Tensor]:
        rows = self._storage.read(number)
        rows[keys.ACTION] = rows[keys.ACTION].long()
        return rows | {key: entry.zeros(len(number)) for key, entry in self._schema.zeros.items()}

    def _write(self, rows: CutRows, stream: int) -> None:
        self._cut = rows._replace(entries=self._links[stream].link(rows.entries, self._written))
        self._write_what_was_cut()

    def _write_what_was_cut(self) -> None:
        """Write the rows that were cut last, also those of a write that failed: the next are numbered after them."""
        count = 0 if self._cut is None else self._cut.entries.shape[0]
        if self._cut is not None and count:
            entries = self._cut.entries
            entries[keys.ACTION] = entries[keys.ACTION].to(self._storage.fields[keys.ACTION].dtype)
            self._mark.advance(self._written + count)  # first: what it does not know of must not be there
            rows = self._cut._replace(entries=entries.exclude(keys.PRIORITY))
            self._storage.write(torch.arange(self._written, self._written + count), rows)
            self._written += count
            self._sampler.extend(count, entries.get(keys.PRIORITY, None))
        self._cut = None


def previous_steps(rows: Mapping[str, Tensor], schema: SequenceSchema) -> dict[str, Tensor]:
    """Unfold what is stored of the step before a row's first one to all of its T+1 observations, [B, T+1]."""
    mask, found = rows[keys.MASK], {}
    starts_at = torch.where(mask[:, 0], 0, schema.burn_in)  # there the burn-in is padding
    for key in schema.first_step_keys:
        if key == keys.ARM:
            found[key] = rows[key].unsqueeze(1).expand(-1, mask.shape[1] + 1)
        else:
            found[key] = unfold(key, rows[key], rows[SOURCES[key]], starts_at)
    return found


class Mirror:
    """Shows rows as a symmetry of their environment would have them; a recurrent state has no mirror image."""

    def __init__(self, symmetry: Symmetry) -> None:
        self._observation, self._action = torch.tensor(symmetry.observation), torch.tensor(symmetry.action)

    def __call__(self, rows: dict[str, Tensor], which: Tensor) -> None:
        """Mirror the rows `which` [B] in place."""
        seen, acted = rows[keys.OBSERVATION], rows[keys.ACTION]
        part = seen[which]
        seen[which] = part.flatten(2)[..., self._observation].view_as(part)
        acted[which] = self._action[acted[which]]
        before = rows.get(keys.PREVIOUS_ACTION)
        if before is not None:  # of the first step; negative where there was none
            rows[keys.PREVIOUS_ACTION] = torch.where(which & (before >= 0), self._action[before.clamp(min=0)], before)
