"""Weights & Biases, offline or online; the only module that imports wandb (slowly, so import it late)."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.runid import generate_id

from modules.loggers.base import Logger, Row, State, numbers_in
from modules.loggers.spec import LoggerSpec
from modules.spec import UsageError

log = logging.getLogger("recall")
# What W&B shows for a status: 0 finished, 255 killed, anything else failed.
_EXIT_CODES = {"finished": 0, "interrupted": 255}
_OTHERWISE = "log in with `wandb login` or WANDB_API_KEY, or use logger.mode=offline"


def login_problem() -> str | None:
    """Return why mode=online cannot work, in one sentence, or None; asks nothing and uses no network."""
    try:
        if wandb.login(prompt=False, verify=False):
            return None
    except wandb.Error as error:
        return f"logger.mode=online: the W&B login cannot be used ({str(error).rstrip('.')}); {_OTHERWISE}."
    return f"logger.mode=online needs a W&B login and there is none (or WANDB_MODE forbids it): {_OTHERWISE}."


class WandbLogger(Logger):
    """One W&B run in `run_dir/wandb`, with `frames` as the x-axis of every metric.

    Offline runs are uploaded later with `wandb sync RUN_DIR/wandb/offline-run-*`. A resumed offline run is a
    second folder with the same id, uploaded after the first. Rows that an interrupted run wrote after its
    last checkpoint stay in W&B; metrics.csv is the exact record.

    Args:
        settings: their mode is offline or online.
        state: what `state()` gave at the checkpoint that the run resumes from, or None.

    Raises:
        UsageError: W&B refused the run.
    """

    def __init__(
        self,
        run_dir: Path,
        settings: LoggerSpec,
        *,
        name: str,
        config: Mapping[str, object],
        state: Mapping[str, str | int] | None,
    ) -> None:
        # The variable names one run: a further run of this process, which inherits it, has an id of its own.
        if inherited := os.environ.pop("WANDB_RUN_ID", None):
            log.warning("WANDB_RUN_ID=%s names this run: no other process may log under it", inherited)
        run_id = str((state or {}).get("wandb_id") or inherited or generate_id())
        # wandb wraps both to learn the exit code, which finish() is told; in a multirun the wraps pile up.
        hooks = sys.excepthook, sys.exit
        try:
            self._run = start_wandb_run(
                dir=run_dir,
                mode=settings.mode,
                project=settings.project,
                group=settings.group,
                name=name,
                tags=settings.tags,
                config=dict(config),
                id=run_id,
                resume="allow" if settings.mode == "online" else None,  # offline cannot, and warns
                reinit="create_new",  # jobs of one process must not share a run
                settings=_settings(),
            )
        except wandb.Error as error:
            if settings.mode == "offline":  # nothing that a user could set otherwise
                raise
            raise UsageError(
                f"logger.mode={settings.mode}: W&B refused the run ({str(error).rstrip('.')}); {_OTHERWISE}."
            ) from error
        finally:
            sys.excepthook, sys.exit = hooks
        self._open = True
        self._run.define_metric("frames", hidden=True)
        self._run.define_metric("*", step_metric="frames")
        if settings.mode == "online":
            log.info("W&B run: %s", self._run.url)

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        self._run.log({"frames": frames, **{name: float(value) for name, value in metrics.items()}})

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        self._run.log({"frames": frames, **numbers_in(name, rows)})

    def image(self, frames: int, path: Path) -> None:
        self._run.log({"frames": frames, path.stem: wandb.Image(str(path))})

    def video(self, frames: int, path: Path) -> None:
        self._run.log({"frames": frames, "video": wandb.Video(path)})

    def finish(self, summary: Mapping[str, object]) -> None:
        """Set the summary and close; online this waits for the upload."""
        if self._open:
            self._open = False
            try:
                try:
                    self._run.summary.update(dict(summary))
                finally:
                    self._run.finish(exit_code=_EXIT_CODES.get(str(summary.get("status")), 1))
            except Exception:
                forget_service()
                raise

    def state(self) -> State:
        return {"wandb_id": self._run.id}


def start_wandb_run(**words: Any) -> wandb.Run:
    """Start a run; if W&B's service has died since an earlier one of this process, with a new service."""
    try:
        return wandb.init(**words)
    except wandb.Error:
        raise
    except Exception:
        forget_service()
        return wandb.init(**words)


def forget_service() -> None:
    """Let the next run of this process start W&B's service again, for the one that there was may be dead.

    Nor is it asked, then, to end with this process, which would be a traceback after the last word.
    """
    with suppress(Exception):
        wandb.teardown()


def _settings() -> wandb.Settings:
    """Return what keeps wandb to itself: no console capture, no code, no package list, no messages."""
    return wandb.Settings(
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,  # it would upload the uncommitted changes; the commit stands in the summary
        disable_job_creation=True,
        x_save_requirements=False,
        silent=True,
    )
