"""The one training loop: collect, store, learn, evaluate, log, save."""

import signal
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import nn

from modules import checkpoint, keys
from modules.loggers import Progress
from modules.schedule import crossed
from modules.seeding import random_state, seed_for, set_random_state, undisturbed
from pipelines.build import Parts
from pipelines.command import abandoned
from pipelines.counters import Counters, reached
from pipelines.signals import Stop

EPISODE_MEASURES = MappingProxyType(  # means over the episodes that ended
    {
        "train/return_mean": keys.EPISODE_RETURN,
        "train/length_mean": keys.STEP_COUNT,
        "train/intrinsic_return_mean": keys.INTRINSIC_RETURN,
        "meta/arm_mean": keys.ARM,
    }
)
RECENT = 50  # episodes of the running mean
STALENESS_ROWS = 32  # of which those count that do not start their episode


class Loop:
    """Runs built parts to the end, to an early stop or to a signal; its checkpoint holds everything."""

    def __init__(self, parts: Parts, progress: Progress) -> None:
        self.parts = parts
        self.run = parts.run
        self.counters = Counters()
        self.stop_signal = 0  # set by a signal handler
        self.progress = progress
        self._resumed = False
        self._saved_at = -1  # frames
        self._afresh = True  # whether all environments start afresh before the next batch
        self._clock = time.perf_counter()
        self._busy_s: dict[str, float] = {}  # per phase since the last log
        self._mark = (0, 0, self._clock)  # frames, updates and time at the last log

    def train(self) -> None:
        """Run until `total_frames` or `stop_at_episodes`, or until an evaluation reaches one of the other goals.

        Raises:
            Stop: a signal came, or the multirun that this is a job of ended; state is that after the last whole batch.
        """
        parts, run, c = self.parts, self.run, self.counters
        if not self._resumed:
            self.save()
        self._anneal()
        push_weights(parts.learner.network, parts.acting)
        parts.collection.push(c.frames)
        push_weights(parts.learner.average, parts.greedy.network)
        self._mark = (c.frames, parts.learner.updates, time.perf_counter())
        if c.row is None and self._over() and c.evaluated_at != c.frames:
            c.row, c.evaluation_due = self._row(), True  # resumed at the end of a run that was not evaluated there
        if c.row is not None:
            self._finish_row()
            self.save()
        batches = parts.collection.batches(self._must_end)
        while not self._over():
            self.obey()
            before = c.frames
            with self._phase("collect"):
                self._start_afresh()
                if (found := next(batches, None)) is None:  # asked to end while it waited for workers
                    continue
                stream, batch = found
                c.frames += batch.numel()
                self._add(parts.around.bonus.measures())
                self._record_episodes(batch)
                parts.arms.add(batch)
                parts.visits.add(batch)
                parts.replay.extend(batch, stream)
            if c.frames > run.warmup_frames:
                c.owed += parts.replay.updates_owed(batch.numel())
            with self._phase("learn"):
                self._learn()
            self.progress.advance(batch.numel())
            self._when_due(before)

    def save(self) -> None:
        """Write a checkpoint of everything."""
        parts, c = self.parts, self.counters
        c.wall_s, self._clock = self.wall_s(), time.perf_counter()
        state = {
            "counters": asdict(c),
            "logger": parts.logger.state(),
            **self._saved_policy(),
            **{name: part.state_dict() for name, part in parts.stateful.items()},
            "random": random_state(),
        }
        checkpoint.save(parts.run_dir / "checkpoints", c.frames, state, keep=self.run.keep_checkpoints)
        self._saved_at = c.frames

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; call it right before `train`."""
        self.counters = Counters(**state["counters"])
        for name, part in self.parts.stateful.items():
            part.load_state_dict(state[name])
        set_random_state(state["random"])
        self._resumed = True
        self._saved_at = self.counters.frames

    def wall_s(self) -> float:
        """Seconds spent so far, over all sittings."""
        return self.counters.wall_s + time.perf_counter() - self._clock

    def end_episodes_and_save(self) -> None:
        """Save what is not saved yet: the running episodes end here, and the next start has its own seed."""
        if self.counters.frames != self._saved_at:
            self.parts.replay.truncate()
            self.counters.restarts += 1
            self.save()

    def _over(self) -> bool:
        return self.counters.frames >= self.run.total_frames or bool(
            reached(self.run, self.counters.score, self.counters.episodes)
        )

    def obey(self) -> None:
        """Raise `Stop` if the run is asked to end."""
        if self._must_end():
            raise Stop(self.stop_signal or signal.SIGTERM)

    def _must_end(self) -> bool:
        return bool(self.stop_signal) or abandoned()

    def _start_afresh(self) -> None:
        """Start the environments with the seed of this start, if a start or a save calls for it."""
        if self._afresh:
            self.parts.collection.restart(seed_for(self.run.seed, "env", self.counters.restarts))
            self._afresh = False

    def _learn(self) -> None:
        parts, c = self.parts, self.counters
        self._add({parts.exploration.metric: self._anneal()})
        while c.owed >= 1:
            c.owed -= 1
            rows = parts.replay.sample()
            self._add({"replay/padding": 1 - rows[keys.MASK].float().mean()})
            measures, errors = parts.learner.step(rows.to(self.run.torch_device))
            self._add(measures)
            self._add(parts.curiosity.step(rows))
            if errors is not None:
                parts.replay.update(rows, errors)
        push_weights(parts.learner.network, parts.acting)
        parts.collection.push(c.frames)

    def _anneal(self) -> float:
        self.parts.learner.anneal(self.counters.frames)
        self.parts.replay.anneal(self.counters.frames)
        return self.parts.exploration.anneal(self.counters.frames)

    def _record_episodes(self, batch: TensorDictBase) -> None:
        done = batch["next", keys.DONE]
        ended = int(done.sum())
        if ended:
            self.counters.episodes += ended
            of_episodes = {
                name: batch["next", key][done.reshape(batch["next", key].shape)].sum()
                for name, key in EPISODE_MEASURES.items()
                if ("next", key) in batch.keys(include_nested=True)
            }
            self._add(of_episodes, ended)
            in_time = (batch["next", keys.EPISODE_RETURN][..., 0].T, done[..., 0].T)  # [T, N], so that the last is last
            self.counters.recent_returns += in_time[0][in_time[1]].tolist()
            del self.counters.recent_returns[:-RECENT]

    def _when_due(self, before: int) -> None:
        run, c = self.run, self.counters
        # The last evaluation belongs to the last batch like any other, so that a save at the end covers it.
        evaluate = crossed(run.eval_every, before, c.frames) or self._over()
        if evaluate or crossed(run.log_every, before, c.frames):
            c.row, c.evaluation_due = self._row(), evaluate
            self._finish_row()
        if crossed(run.save_every, before, c.frames) or self.parts.replay.must_save:
            self.end_episodes_and_save()
            self._afresh = True

    def _evaluate(self) -> dict[str, float]:
        parts, c = self.parts, self.counters
        push_weights(parts.learner.average, parts.greedy.network)
        with self._phase("eval"), undisturbed():  # environments may draw from the global generators, training's own
            episodes = parts.greedy.evaluate(parts.curiosity, parts.around.bonus, self._watch, frames=c.frames)
        c.score, c.evaluated_at = episodes.metrics(), c.frames
        mean = c.score["eval/return_mean"]
        if c.best_score is None or mean >= c.best_score:
            c.best_score = mean
            checkpoint.write(parts.run_dir / "checkpoints" / "best.pt", self._saved_policy())
        return c.score

    def _watch(self, ended: int, episodes: int) -> None:
        self.obey()
        self.progress.wait("evaluating", ended, episodes)

    def watch_film(self, ended: int, episodes: int) -> None:
        """The same for a film."""
        self.obey()
        self.progress.wait("filming", ended, episodes)

    def _saved_policy(self) -> dict[str, Any]:
        """What the policy can be evaluated by later: a part of each checkpoint, and all of best.pt."""
        parts = self.parts
        return {
            "run_id": parts.run_id,
            "frames": self.counters.frames,
            "network": parts.learner.average.state_dict(),
            "curiosity": parts.curiosity.state_dict(),
            "bonus": parts.around.bonus.state_dict(),
            "arm": parts.greedy.evaluator.greedy(),
        }

    def _row(self) -> dict[str, float]:  # before an evaluation, whose interruption ends the running episodes
        parts, c = self.parts, self.counters
        metrics = {name: total / c.counts[name] for name, total in c.sums.items()}
        c.sums, c.counts = {}, {}
        return metrics | {
            **({"train/return_mean_50": statistics.fmean(c.recent_returns)} if c.recent_returns else {}),
            "train/episodes": c.episodes,
            "train/updates": parts.learner.updates,
            "replay/rows": len(parts.replay),
            "replay/fill": len(parts.replay) / parts.replay.settings.capacity_rows,
            **self._staleness(),
        }

    def _finish_row(self) -> None:
        """Evaluate if that is due, and log; what is interrupted here is done when the run is resumed."""
        parts, c = self.parts, self.counters
        if c.evaluation_due:
            c.row = (c.row or {}) | self._evaluate()
            c.evaluation_due = False
        arm = {} if self.run.meta.single else {"meta/greedy_arm": parts.greedy.evaluator.greedy()}
        metrics = (c.row or {}) | arm | self._speed()
        if arms := parts.arms.means():
            parts.logger.arms(c.frames, arms)
        parts.arms.clear()  # only now: on a full disk it is saved with what could not be written
        parts.logger.log(c.frames, metrics)
        c.row = None
        self.progress.show(metrics)

    def _staleness(self) -> dict[str, float]:
        replay, run = self.parts.replay, self.run
        if not len(replay):
            return {}
        generator = torch.Generator().manual_seed(seed_for(run.seed, "staleness", self.counters.frames))
        return self.parts.learner.staleness(replay.histories(STALENESS_ROWS, generator), run.layout.stride)

    def _speed(self) -> dict[str, float]:
        frames, updates, now = self.counters.frames, self.parts.learner.updates, time.perf_counter()
        seconds = now - self._mark[2]
        speed = {f"perf/{phase}_share": self._busy_s.get(phase, 0) / seconds for phase in ("collect", "learn", "eval")}
        speed["perf/frames_per_s"] = (frames - self._mark[0]) / seconds
        speed["perf/updates_per_s"] = (updates - self._mark[1]) / seconds
        speed["perf/wall_s"] = self.wall_s()
        self._mark, self._busy_s = (frames, updates, now), {}
        return speed

    def _add(self, measures: Mapping[str, Any], count: int = 1) -> None:
        c = self.counters
        for name, value in measures.items():
            c.sums[name] = c.sums.get(name, 0.0) + float(value)
            c.counts[name] = c.counts.get(name, 0) + count

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._busy_s[name] = self._busy_s.get(name, 0) + time.perf_counter() - start


def push_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters between networks of the same shape, across devices if need be."""
    values = [p.detach() for p in source.parameters()]
    torch._foreach_copy_(list(target.parameters()), values)  # pyright: ignore[reportPrivateImportUsage]
