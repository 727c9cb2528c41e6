"""The one training loop: collect, store, learn, evaluate, call back, save."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any

from modules import checkpoint, keys
from modules.collect.weights import push_weights
from modules.loggers import Progress
from modules.metrics import Means, refuse_undeclared
from modules.schedule import is_due
from modules.seeding import fork_rngs, random_state, seed_for, set_random_state
from pipelines.training.build import Parts
from pipelines.training.counters import Counters, reached_goal
from pipelines.training.in_progress import RunInProgress

log = logging.getLogger("recall")


class Loop(RunInProgress):
    """Runs built parts to the end, to an early stop or to a signal; its checkpoint holds everything."""

    def __init__(self, parts: Parts, progress: Progress) -> None:
        super().__init__(parts, progress)
        self._means = Means()  # of what learning measures
        self._resumed = False
        self._saved_at = -1  # frames
        self._afresh = True  # whether all environments start afresh before the next batch

    def train(self) -> None:
        """Run until `total_frames` or `stop_at_episodes`, or until an evaluation or a callback asks for the end.

        Raises:
            Stop: a signal came, or the multirun that this is a job of ended; state is that after the last whole batch.
        """
        parts, run, c = self.parts, self.run, self.counters
        self._anneal()
        self._push_weights()
        push_weights(parts.learner.average, parts.evaluator.network)
        parts.callbacks.tell("on_start", self)
        if not self._resumed:
            self.save()
        if c.row is None and self._over() and c.evaluated_at != c.frames:
            c.row, c.evaluation_due = self._measures(), True  # resumed at the end of a run that was not evaluated there
        if c.row is not None:
            self._finish_row()
            self.save()
        batches = parts.collection.batches(self._must_end)
        while not self._over():
            self.obey()
            before = c.frames
            self._start_afresh()
            if (found := next(batches, None)) is None:  # asked to end while it waited for workers
                continue
            stream, batch, rows = found
            c.frames += batch.numel()
            c.episodes += int(batch["next", keys.DONE].sum())
            parts.replay.extend(batch, stream, rows)
            parts.learner.observe(batch, c.frames)
            parts.callbacks.tell("on_batch", self, batch)
            if c.frames > run.warmup_frames:
                c.updates_due += parts.replay.updates_due(batch.numel())
            self._learn()
            self.progress.advance(batch.numel())
            self._when_due(before)

    def save(self) -> None:
        """Write a checkpoint of everything."""
        parts, c = self.parts, self.counters
        c.wall_s, self._clock = self.wall_s, perf_counter()
        state = {
            "counters": asdict(c),
            "measures": self._means.state_dict(),
            "logger": parts.logger.state(),
            **self.parts.policy_state(c.frames),
            **{name: part.state_dict() for name, part in parts.stateful.items()},
            "random": random_state(),
        }
        for name, part in state.items():
            checkpoint.refuse_unreadable(part, name)
        path = checkpoint.save(parts.run_dir / "checkpoints", c.frames, state, keep=self.run.keep_checkpoints)
        self._saved_at = c.frames
        parts.callbacks.tell("on_checkpoint", self, path)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; call it right before `train`."""
        self.counters = Counters(**state["counters"])
        self._means.load_state_dict(state["measures"])
        for name, part in self.parts.stateful.items():
            part.load_state_dict(state[name])
        set_random_state(state["random"])
        if missing := self.parts.callbacks.missing(state["callbacks"]):
            log.warning("callbacks of this run are missing now and hear nothing: %s", ", ".join(missing))
        self._resumed = True
        self._saved_at = self.counters.frames

    def end_episodes_and_save(self) -> None:
        """Save what is not saved yet: the running episodes end here, and the next start has its own seed."""
        if self.counters.frames != self._saved_at:
            self.parts.replay.truncate()
            self.counters.restarts += 1
            self.save()

    def _over(self) -> bool:
        c = self.counters
        ended = c.frames >= self.run.total_frames or reached_goal(self.run, c.score, c.episodes)
        return bool(ended or self.parts.callbacks.should_stop)

    def _start_afresh(self) -> None:
        """Start the environments with the seed of this start, if a start or a save calls for it."""
        if self._afresh:
            self.parts.collection.restart(seed_for(self.run.seed, "env", self.counters.restarts))
            self._afresh = False

    def _learn(self) -> None:
        parts, c = self.parts, self.counters
        self._add(parts.exploration, self._anneal())
        while c.updates_due >= 1 and (rows := parts.replay.sample()) is not None:
            c.updates_due -= 1
            learned, errors = parts.learner.step(rows.to(self.run.torch_device))
            padding = {"replay/padding": 1 - rows[keys.MASK].float().mean()}
            further = parts.auxiliary.step(rows)
            if errors is not None:
                parts.replay.update(rows, errors)
            self._add(parts.replay, padding)
            self._add(parts.learner.loss, learned)
            self._add(parts.auxiliary, further)
            parts.callbacks.tell("on_update", self, {**padding, **learned, **further})
        self._push_weights()

    def _push_weights(self) -> None:
        push_weights(self.parts.learner.network, self.parts.actor.network)
        self.parts.collection.push(self.counters.frames)

    def _anneal(self) -> dict[str, float]:
        frames, exploration = self.counters.frames, self.parts.exploration
        self.parts.learner.anneal(frames)
        self.parts.replay.anneal(frames)
        return {exploration.metric: exploration.anneal(frames)}

    def _when_due(self, before: int) -> None:
        run, c = self.run, self.counters
        # The last evaluation belongs to the last batch like any other, so that a save at the end covers it.
        evaluate = is_due(run.eval_every, before, c.frames) or self._over()
        if evaluate or is_due(run.log_every, before, c.frames):
            c.row, c.evaluation_due = self._measures(), evaluate
            self._finish_row()
        if is_due(run.save_every, before, c.frames) or self.parts.replay.must_save:
            self._save_and_go_on()

    def _save_and_go_on(self) -> None:
        """Save; where a run can be repeated, its environments start afresh, as they do when it is resumed."""
        if self.parts.collection.exact:
            self.end_episodes_and_save()
            self._afresh = True
        else:
            self.counters.restarts += 1  # that a resumed run would need
            self.save()

    def _evaluate(self) -> None:
        parts, c = self.parts, self.counters
        push_weights(parts.learner.average, parts.evaluator.network)
        with fork_rngs():  # environments may draw from the global generators, training's own
            episodes = parts.evaluator.evaluate(self._watch("evaluating"), frames=c.frames)
        c.score, c.evaluated_at = episodes.metrics(), c.frames
        mean = c.score["eval/return_mean"]
        c.best_score = mean if c.best_score is None else max(c.best_score, mean)
        c.row, c.evaluation_due = (c.row or {}) | c.score, False  # done, even if a callback is interrupted
        parts.callbacks.tell("on_evaluation", self, episodes)

    def _measures(self) -> dict[str, float]:  # before an evaluation, whose interruption ends the running episodes
        parts = self.parts
        learned, kept = parts.learner.measures(), parts.replay.measures()
        self._refuse_undeclared(parts.learner, learned)
        self._refuse_undeclared(parts.replay, kept)
        return self._means.take() | learned | kept | parts.callbacks.ask("measures", self)

    def _finish_row(self) -> None:
        """Evaluate if that is due, and log; what is interrupted here is done when the run is resumed."""
        parts, c = self.parts, self.counters
        if c.evaluation_due:
            self._evaluate()
        metrics = (c.row or {}) | parts.callbacks.ask("measures_after", self)
        parts.logger.log(c.frames, metrics)
        c.row = None
        self.progress.show(metrics)
        parts.callbacks.tell("on_row", self, metrics)

    def _add(self, sender: object, measures: Mapping[str, Any]) -> None:
        self._refuse_undeclared(sender, measures)
        self._means.add(measures)

    def _refuse_undeclared(self, sender: object, measures: Mapping[str, Any]) -> None:
        refuse_undeclared(type(sender).__name__, measures, self.run.declared)
