"""The second phase: do the parts fit each other and this machine? All breaches in one message."""

import logging
from dataclasses import fields
from pathlib import Path

from modules.replay.ring import refuse_what_does_not_fit
from modules.spec import Spec, UsageError
from pipelines.schema import Run

log = logging.getLogger("recall")


def specs(part: Spec) -> list[Spec]:
    """List `part` and every spec inside it."""
    inner = [getattr(part, field.name) for field in fields(part)]  # pyright: ignore[reportArgumentType]
    return [part, *(found for child in inner if isinstance(child, Spec) for found in specs(child))]


def refuse_misfits(run: Run) -> None:
    """Raise `UsageError` with every relation between the parts that does not hold."""
    _ = run.spaces  # an environment that cannot work would only produce more sentences about itself
    problems = [sentence for part in specs(run) for sentence in part.needs(run)]
    if problems:
        raise UsageError("; ".join(problems))


def check(run: Run, run_dir: Path) -> None:
    """Raise `UsageError` if the parts do not fit each other, or the replay this disk; nothing has been allocated."""
    refuse_misfits(run)
    refuse_what_does_not_fit(run.replay_bytes, run_dir / "replay")


def warn_of_endless(run: Run) -> None:
    """Say it before training if nothing is known to end the environment's episodes."""
    if run.env.episode_limit() is None:
        log.warning(
            "env.id: no time limit of %s is known: should an episode not end by itself, it goes on for as long as "
            "training does, and evaluations wait until eval_max_steps=%d; env.max_steps gives it one",
            getattr(run.env, "id", type(run.env).__name__),
            run.eval_max_steps,
        )
