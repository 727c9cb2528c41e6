"""The second phase: do the parts fit each other and this machine? All breaches in one message."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modules.spec import UsageError, specs_in
from pipelines.config.composing import compose_settings
from pipelines.config.schema import RunConfig, read
from pipelines.config.sizes import refuse_full_disk, refuse_too_large

FEW_UPDATES = 1_000
A_TRIAL = 20_000  # frames; a shorter run is not meant to learn

log = logging.getLogger("recall")


def refuse_misfits(run: RunConfig) -> None:
    """Raise `UsageError` with every relation between the parts that does not hold."""
    _ = run.spaces  # an environment that cannot work would only produce more sentences about itself
    _ = run.declared
    problems = [sentence for part in specs_in(run) for sentence in part.needs(run)]
    if problems:
        raise UsageError("; ".join(problems))
    refuse_too_large(run)


def read_environment(words: Sequence[str]) -> RunConfig:
    """Compose a run of which only the environment is used, and not filmed, so that nothing must be able to render.

    Raises:
        UsageError: the words are no settings, or the environment cannot work.
    """
    run = replace(read(compose_settings(words)[0]), video=False)
    if problems := list(run.env.needs(run)):
        raise UsageError("; ".join(problems))
    return run


def check(run: RunConfig, run_dir: Path) -> None:
    """Raise `UsageError` if the parts do not fit each other, memory or disk; nothing has been allocated."""
    refuse_misfits(run)
    refuse_unreadable_name(run_dir)
    refuse_full_disk(run, run_dir)
    # Those that live at once: for training, in all processes here together, for evaluations, and for a film.
    environments = run.collector.envs_here + run.evaluation_envs + run.video
    run.env.try_together(environments, video=run.video, all_of_them=run.dry)
    run.collector.refuse_unreachable()


def refuse_unreadable_name(run_dir: Path) -> None:
    """Raise `UsageError` for a folder whose name is no text: PyTorch's memory-mapped files cannot lie there."""
    try:
        str(run_dir.absolute()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"hydra.run.dir: {run_dir} has bytes that are no UTF-8, and PyTorch opens no replay in such a folder; "
            "rename it or choose another (a run that is there can be evaluated and exported)"
        ) from error


def warn_of_endless(run: RunConfig) -> None:
    """Say it before training if nothing is known to end the environment's episodes."""
    if run.env.episode_limit() is None:
        log.warning(
            "env.id: no time limit of %s is known: should an episode not end by itself, it continues until the next "
            "save ends it, and evaluations wait until eval_max_steps=%d; env.max_steps gives it a limit",
            getattr(run.env, "id", type(run.env).__name__),
            run.eval_max_steps,
        )


def warn_of_few_updates(run: RunConfig) -> None:
    """Say it before training if the optimiser will make fewer steps than any preset that learns."""
    updates = run.replay.planned_updates(run.total_frames - run.warmup_frames)
    if updates is not None and updates < FEW_UPDATES and run.total_frames >= A_TRIAL:
        log.warning(
            "this run plans about %d updates, and presets that learn make thousands: raise total_frames or "
            "replay.ratio, or lower replay.batch_rows or replay.length",
            updates,
        )
