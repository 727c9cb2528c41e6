"""The second phase: do the parts fit each other and this machine? All breaches in one message."""

from dataclasses import fields
from pathlib import Path

from modules.replay.ring import refuse_what_does_not_fit
from modules.spec import Spec, UsageError
from pipelines.schema import Run


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
    run.env.try_together(environments(run), video=run.video)


def environments(run: Run) -> int:
    """Count those that live at once: for training, in all processes together, for evaluations, and for a film."""
    return run.collector.total_envs + min(run.eval_episodes, run.eval_envs) + run.video
