"""Continue a run from its newest checkpoint, or begin it if nothing is there: `resume=auto`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from modules.callbacks import TrainingCallback
from modules.collect import leaving_cluster
from modules.plots.runs import ENDED
from modules.spec import Spec, UsageError, spec
from pipelines.agent.saved import read_summary
from pipelines.agent.trained_agent import load_run, network_with
from pipelines.config.check import check
from pipelines.config.hints import content
from pipelines.config.plugins import Plugins
from pipelines.config.schema import read
from pipelines.console.output import quote_path
from pipelines.training.counters import reached_goal
from pipelines.training.pictures import missing_pictures
from pipelines.training.requeue import is_queued_job
from pipelines.training.resumable import goes_on_from
from pipelines.training.run_folder import has_run, refuse_existing
from pipelines.training.session import config_of, execute, start

CONTINUING = ("auto", "kept")  # values of `resume` with which a run that is there goes on
GOALS = ("stop_at_score", "stop_at_episodes", "stop_at_length")
CADENCES = ("log_every", "save_every", "eval_every", "eval_episodes", "keep_checkpoints")
CHANGEABLE = ("total_frames", *GOALS, *CADENCES, "video", "device", "threads", "logger")

log = logging.getLogger("recall")


@spec
class Resume(Spec):
    """Settings of a resumed run; `changes` are values of those that may change, checked with the run."""

    run: Path
    changes: dict[str, Any]
    plugins: Plugins


@leaving_cluster()
def resume(settings: Resume, *, bar: bool, callbacks: Sequence[TrainingCallback] = ()) -> float | None:
    """Continue a run in its own directory; returns its score."""
    run_dir = settings.run
    _, config = load_run(run_dir, settings.plugins)
    config = apply_changes(config, settings.changes)
    run = read(OmegaConf.create(config))
    state = goes_on_from(run, run_dir)
    finished = (read_summary(run_dir) or {}).get("status") in ENDED
    # Else there is something left to do at the end: an evaluation, a summary, a picture, a film.
    ended = finished and not missing_pictures(run, run_dir, state["frames"])
    if state["frames"] >= run.total_frames and (ended or "total_frames" in settings.changes):
        raise UsageError(
            f"total_frames={run.total_frames}: {run_dir} is at frame {state['frames']} already; "
            f"give a larger total_frames to train on"
        )
    goal = reached_goal(run, state["counters"]["score"], state["counters"]["episodes"])
    if goal and (ended or not settings.changes.keys().isdisjoint(GOALS)):
        name = goal.partition("=")[0]
        raise UsageError(f"{goal}: {run_dir} has reached it; to continue, give a harder one or {name}=null")
    check(run, run_dir)
    run.replay.refuse_missing(run_dir / "replay", state["replay"])
    network_with(state["network"], run, run_dir)
    return execute(run, run_dir, config, state, bar=bar, callbacks=callbacks)


def apply_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put `changes` into the configuration of a run: an option of the logger first, then its single settings."""
    config = dict(config)
    if "logger" in changes:
        config["logger"] = content("logger", changes["logger"])
    for name, value in changes.items():
        if name.startswith("logger."):
            config["logger"] = {**config["logger"], name.removeprefix("logger."): value}
        elif name != "logger":
            config[name] = value
    return config


@leaving_cluster()
def start_or_resume(
    cfg: DictConfig, run_dir: Path, *, bar: bool, callbacks: Sequence[TrainingCallback] = ()
) -> float | None:
    """Begin the run that `cfg` describes; continue it if it is in `run_dir`, with `resume` and in a queue.

    Returns:
        Its score, also of a run that is finished already; None for a dry run.

    Raises:
        UsageError: a run is there, and is not to be continued or has other settings.
    """
    if not ((cfg.resume != "never" or is_queued_job()) and has_run(run_dir)):
        return start(cfg, run_dir, bar=bar, callbacks=callbacks)
    refuse_other_settings(cfg, run_dir)
    if cfg.dry:
        log.info("dry run: the run in %s would continue", run_dir)
        return None
    plugins = tuple(cfg.plugins)
    run, _ = load_run(run_dir, plugins)
    summary = read_summary(run_dir) or {}
    if summary.get("status") in ENDED and not missing_pictures(run, run_dir, int(summary["frames"])):
        log.info("%s is %s already, with greedy return %.1f", run_dir, summary["status"], summary["score"])
        return summary["score"]
    return resume(Resume(run=run_dir, changes={}, plugins=plugins), bar=bar, callbacks=callbacks)


def refuse_unsound(cfg: DictConfig, run_dir: Path) -> None:
    """Raise `UsageError` for a run that can neither begin nor, with `resume`, continue in `run_dir`."""
    if cfg.resume != "never" and has_run(run_dir):
        refuse_other_settings(cfg, run_dir)
    else:
        refuse_existing(run_dir)
        check(read(cfg), run_dir)


def refuse_other_settings(cfg: DictConfig, run_dir: Path) -> None:
    """Raise `UsageError` with the first setting in which `cfg` and the run in `run_dir` differ.

    Callbacks that an older run does not have are none: they are Recall's own, and came later. With `resume=kept` only
    those count that cannot be changed at a resume.
    """
    read(cfg)
    _, config = load_run(run_dir, tuple(cfg.plugins))
    for name, there, given in differences(config, config_of(cfg)):
        if there is None and name.startswith("callbacks."):
            continue
        if cfg.resume == "kept" and name.partition(".")[0] in CHANGEABLE:
            continue
        raise UsageError(
            f"{run_dir}: the run there has {name}={there}, not {given}, so it is not continued; "
            f"`python -m pipelines.resume run={quote_path(run_dir)}` continues it as it is"
        )


def differences(there: Any, given: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name and both values of each setting that differs; None stands for one that is missing."""
    if isinstance(there, Mapping) and isinstance(given, Mapping):
        for key in {**given, **there}:
            yield from differences(there.get(key), given.get(key), f"{name}.{key}".lstrip("."))
    elif there != given:
        yield name, there, given
