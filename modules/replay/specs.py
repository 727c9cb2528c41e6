"""Settings of the sequence replay, sampled uniformly or by priority."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import InstanceOf
from tensordict import TensorDictBase
from torch import Tensor

from modules import keys
from modules.keys import Spaces, StateSchema
from modules.losses import ops
from modules.replay.actor_rows import ActorRows, FirstErrors
from modules.replay.base import Replay, ReplayContext, ReplaySpec
from modules.replay.rows import SequenceSchema
from modules.replay.samplers import Prioritised, Sampler
from modules.replay.storage import StorageSpec
from modules.schedule import linear
from modules.spec import Count, Positive, PositiveFloat, RunConfig, Share, UsageError, spec


@spec
class SequenceSpec(ReplaySpec):
    """Settings of the sequence replay, sampled uniformly.

    Attributes:
        capacity: row slots that the sampler can draw from · steps that neighbours do not share; padding counts.
        length: learned steps of a row, T; 0 stands for whole episodes, as long as the longest (see `fit_to_env`).
        burn_in: steps before them from which only the recurrent state is recomputed (R2D2, section 3).
        overlap: learned steps that neighbouring rows of an episode share.
        state: start a row from the recurrent state that the agent had there, or from zeros.
        batch_rows: rows of a batch, B.
        ratio: learned steps per collected step.
        mirror: show each sampled row mirrored with probability 1/2, where the environment has a mirror symmetry.
        cross_mixture: probability with which a sampled row is learned by another member of the family of policies than
            the one that acted, drawn uniformly (NGU's cross mixture ratio, table 6 and its ablation).
        storage: where rows lie.
    """

    capacity: Positive
    length: Count
    burn_in: Count
    overlap: Count
    state: Literal["stored", "zero"]
    batch_rows: Positive
    ratio: PositiveFloat
    mirror: bool
    cross_mixture: Share
    storage: InstanceOf[StorageSpec]

    def build(self, context: ReplayContext) -> Replay:
        from modules.replay.sequence import SequenceReplay  # which imports this file

        replay = SequenceReplay(self, context)
        if context.saved:
            replay.refuse_damage(context.saved)
        return replay

    def wrong_state(self, state: Mapping[str, Any]) -> str:
        written = state.get("written")
        return "" if isinstance(written, int) and written >= 0 else f"its replay has {written!r} rows"

    def refuse_missing(self, directory: Path, state: Mapping[str, Any]) -> None:
        if state.get("written") and not (directory / "meta.json").exists():
            raise UsageError(
                f"{directory}: the replay of this run is gone, so it cannot be resumed; evaluate still works"
            )

    def planned_updates(self, frames: int) -> float | None:
        return frames * self.ratio / (self.batch_rows * self.length)

    def fit_to_env(self, max_steps: int | None) -> "SequenceSpec":
        if max_steps is not None and self.length > max_steps:  # the rest of each row would be padding
            return replace(self, length=max_steps, burn_in=0, overlap=0)
        if self.length:
            return self
        if max_steps is None:
            raise UsageError("replay.length=0 (whole episodes) needs an environment with a time limit: give the steps")
        if self.burn_in:
            raise UsageError(f"replay.burn_in={self.burn_in} must be 0 where rows are whole episodes (replay.length=0)")
        return replace(self, length=max_steps)

    def footprint(self, spaces: Spaces, schema: SequenceSchema, ring_rows: int) -> int:
        """Of the full ring; the page cache holds as much of it as memory allows."""
        return self.storage.footprint(spaces, schema, ring_rows)

    @property
    def assumption(self) -> str:
        return self.storage.assumption

    def schema(self, states: StateSchema, reads: tuple[str, ...], step_keys: tuple[str, ...] = ()) -> SequenceSchema:
        stored, zeros = (states, {}) if self.state == "stored" else ({}, states)
        return replace(super().schema(stored, reads, step_keys), overlap=self.overlap, zeros=zeros)

    @property
    def capacity_rows(self) -> int:
        return self.capacity // (self.length - self.overlap)

    def with_room_for(self, rows: int) -> "SequenceSpec":
        return replace(self, capacity=rows * (self.length - self.overlap))

    def needs(self, run: RunConfig) -> Iterator[str]:
        if self.overlap >= self.length:
            yield f"replay.overlap={self.overlap} must be smaller than replay.length={self.length}"
        elif self.burn_in > self.length - self.overlap:
            yield (
                f"replay.burn_in={self.burn_in} must not exceed the {self.length - self.overlap} steps between rows "
                "(replay.length - replay.overlap)"
            )
        elif self.capacity_rows < self.batch_rows:
            yield (
                f"replay.capacity={self.capacity} steps hold {self.capacity_rows} rows of {self.length} steps, "
                f"fewer than replay.batch_rows={self.batch_rows}"
            )
        if self.mirror and run.env.symmetry() is None:
            yield "replay.mirror=true needs an environment with a mirror symmetry; this one has none: set it to false"
        elif self.mirror and self.length < (run.env.episode_limit() or self.length + 1) and run.network.memory.state():
            yield "replay.mirror=true needs whole episodes (a recurrent state has no mirror image): set replay.length=0"
        if self.mirror and run.intrinsic.rewards:
            yield (
                "replay.mirror=true needs a run without intrinsic reward, since nobody visited the mirrored states and "
                "so nothing says how new they are: set it to false, or intrinsic=none"
            )
        if self.cross_mixture and run.meta.single:
            yield "replay.cross_mixture needs a family of policies to mix: set it to 0, or choose an option of meta"
        if run.warmup_frames > self.capacity:
            yield f"warmup_frames={run.warmup_frames} must not exceed replay.capacity={self.capacity}"

    def interval_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows that may be written between two saves; episodes shorter than a row make more rows of a frame."""
        return -(-save_every // (self.length - self.overlap)) + 2 * batch_frames

    def ring_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows on disk: the capacity, and what the two newest checkpoints may still refer to."""
        return self.capacity_rows + 2 * self.interval_rows(save_every, batch_frames)

    def sampler(self, seed: int) -> Sampler:
        """Make what draws rows."""
        return Sampler(seed=seed, capacity=self.capacity_rows)

    def importance_at(self, frames: int) -> float:
        """Exponent of the importance weights at frame `frames`; 0 = none."""
        return 0.0

    def priority(self, errors: Tensor, mask: Tensor) -> Tensor:
        """Priority [B] of rows with these |δ| [B, T]."""
        raise NotImplementedError

    def priorities(self, rows: TensorDictBase, errors: Tensor) -> Tensor:
        """Priorities [B] of sampled `rows` that follow from their |δ| [B, T]."""
        return self.priority(errors.cpu(), rows[keys.MASK][:, self.burn_in :])


@spec
class PrioritisedSpec(SequenceSpec):
    """Settings of the sequence replay, sampled by priority (Schaul et al. 2016; R2D2, section 2.3).

    Attributes:
        exponent: of the priorities, 0 … 1 as in Schaul et al.; 0 = uniform. Beyond, small ones vanish in rounding.
        eta: share of the row's largest |δ| in its priority; the mean has the rest.
        importance: exponent of the importance weights at frame 0.
        importance_end: the same from frame `importance_frames` on.
        importance_frames: length of the line between them, in env frames.
    """

    by_priority = True

    exponent: Share
    eta: Share
    importance: Share
    importance_end: Share
    importance_frames: Positive

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from super().needs(run)
        if not (run.loss.tells_errors or run.loss.on_policy):  # the latter says itself that it wants no replay
            yield "replay=prioritised needs a loss that tells each step's error: use loss=q, or replay=sequence"

    def memory(self, rows: int) -> int:
        """Bytes of the sum tree, whose leaves and inner sums are float64."""
        return 2 * 8 * rows

    def cutter(self, schema: SequenceSchema, errors: FirstErrors) -> ActorRows:
        return ActorRows(schema, errors, self.priority)

    def sampler(self, seed: int) -> Sampler:
        return Prioritised(seed=seed, capacity=self.capacity_rows, exponent=self.exponent)

    def importance_at(self, frames: int) -> float:
        return linear(frames, start=self.importance, end=self.importance_end, over=self.importance_frames)

    def priority(self, errors: Tensor, mask: Tensor) -> Tensor:
        """η · max + (1 − η) · mean over the learned steps."""
        return ops.sequence_priority(errors, mask, self.eta)


@spec
class ShardedSpec(PrioritisedSpec):
    """Settings of the prioritised replay in shards, actors of Ray, which take rows that actors have cut.

    Attributes:
        shards: how many; each holds an equal part of the capacity, on the disk of the machine that Ray puts it on.
        most_losses: shards that may be lost in a run before it ends with an error.
    """

    shards: Positive
    most_losses: Count

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from super().needs(run)
        if not (run.collector.on_cluster and run.collector.actors_cut):
            yield "replay=ray takes rows that actors of a Ray cluster have cut: use collector=ray collector.rows=actor"
        if self.capacity_rows < self.shards:
            yield f"replay.shards={self.shards} are more than the rows that replay.capacity={self.capacity} steps hold"
        elif (workers := run.collector.total_envs // run.collector.num_envs) < self.shards:
            yield f"replay.shards={self.shards} are more than the {workers} workers that give them rows"

    @property
    def of_a_shard(self) -> PrioritisedSpec:
        """Settings of each."""
        values = {field.name: getattr(self, field.name) for field in fields(PrioritisedSpec)}
        return PrioritisedSpec(**{**values, "capacity": self.capacity // self.shards})

    def with_room_for(self, rows: int) -> SequenceSpec:
        return self.of_a_shard.with_room_for(rows)

    def build(self, context: ReplayContext) -> Replay:
        from modules.replay.ray_shards import RayShards
        from modules.replay.sharded import ShardedReplay  # which imports this file

        return ShardedReplay(self, context, RayShards())

    def wrong_state(self, state: Mapping[str, Any]) -> str:
        found = state.get("shards")
        right = isinstance(found, list) and len(found) == self.shards
        return "" if right else f"its replay has not {self.shards} shards"

    def refuse_missing(self, directory: Path, state: Mapping[str, Any]) -> None:
        """A shard that is gone begins empty."""

    def ring_rows(self, save_every: int, batch_frames: int) -> int:
        """Rows on the disk of each shard."""
        return self.of_a_shard.ring_rows(save_every, batch_frames)

    def rings(self, *, here: bool) -> int:
        """All shards where there is one machine; else Ray gives each machine its part, and each claims its own disk."""
        return self.shards if here else 1

    @property
    def assumption(self) -> str:
        return f"for each of {self.shards} shards, {super().assumption}"
