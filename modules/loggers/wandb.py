"""Weights & Biases, offline or online; the only module that imports wandb (slowly, so import it late)."""

import logging
import os
import shutil
import sys
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.runid import generate_id

from modules.files import refuse_link
from modules.loggers.base import Logger, Row, State, numbers_in
from modules.loggers.spec import LoggerContext, LoggerSpec
from modules.metrics import SCORE
from modules.spec import UsageError

log = logging.getLogger("recall")
POLICY = ("checkpoints/best.pt", "config.yaml")  # files of a run, of which `pipelines.evaluate` needs no other
LONGEST = 128  # characters of a group
# What W&B shows for a status: 0 finished, 255 killed, anything else failed.
_EXIT_CODES = {"finished": 0, "pruned": 0, "interrupted": 255}
_LOGIN = "log in with `wandb login` or WANDB_API_KEY"
_OTHERWISE = f"{_LOGIN}, or use logger.mode=offline"


def login_problem() -> str | None:
    """Return why mode=online cannot work, in one sentence, or None; asks nothing and uses no network."""
    try:
        if wandb.login(prompt=False, verify=False):
            return None
    except wandb.Error as error:
        return f"logger.mode=online: the W&B login cannot be used ({str(error).rstrip('.')}); {_OTHERWISE}."
    return f"logger.mode=online needs a W&B login and there is none (or WANDB_MODE forbids it): {_OTHERWISE}."


def default_entity() -> str:
    """Return whose account W&B takes where none is named; asks its server.

    Raises:
        UsageError: there is no login.
    """
    if login_problem():
        raise UsageError(f"W&B's pages need a login, and there is none that can be used: {_LOGIN}.")
    return str(wandb.Api().default_entity or "")


class WandbLogger(Logger):
    """One W&B run in `wandb/` of the folder that the context names, with `frames` as the x-axis of every metric.

    Offline runs are uploaded later with `wandb sync FOLDER/wandb/offline-run-*`. A resumed offline run is a
    second folder with the same id, uploaded after the first. Rows that an interrupted run wrote after its
    last checkpoint stay in W&B; metrics.csv is the exact record.

    Args:
        context: of the run; its state is what `state()` gave at the checkpoint that the run resumes from, or None.
        settings: their mode is offline or online.

    Raises:
        UsageError: W&B refused the run.
    """

    def __init__(self, context: LoggerContext, settings: LoggerSpec) -> None:
        # The variable names one run: a further run of this process, which inherits it, has an id of its own.
        if inherited := os.environ.pop("WANDB_RUN_ID", None):
            log.warning("WANDB_RUN_ID=%s names this run: no other process may log under it", inherited)
        run_id = str((context.state or {}).get("wandb_id") or inherited or generate_id())
        folder = context.shared or context.run_dir
        refuse_link(folder / "wandb")
        # wandb wraps both to learn the exit code, which finish() is told; in a multirun the wraps pile up.
        hooks = sys.excepthook, sys.exit
        try:
            self._run = start_wandb_run(
                dir=folder,
                mode=settings.mode,
                project=settings.project,
                group=settings.group or shortened(context.group),
                job_type="train",
                name=settings.name or context.name,
                tags=settings.tags,
                config=dict(context.config),
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
        self._open, self._run_dir = True, context.run_dir
        self._run.define_metric("frames", hidden=True)
        self._run.define_metric("*", step_metric="frames")
        self._run.define_metric(SCORE, step_metric="frames", summary="max")
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
        """Hand over the best policy, set the summary and close; online this waits for the upload."""
        if self._open:
            self._open = False
            try:
                try:
                    if summary.get("status") in _EXIT_CODES:
                        self._hand_over_best(summary)
                    self._run.summary.update(dict(summary))
                    if (best := summary.get("best_score")) is not None:  # W&B knows the maximum of this sitting only
                        self._run.summary[SCORE] = {"max": best}
                finally:
                    self._run.finish(exit_code=_EXIT_CODES.get(str(summary.get("status")), 1))
            except Exception:
                forget_service()
                raise

    def _hand_over_best(self, summary: Mapping[str, object]) -> None:
        """Log what `pipelines.evaluate` needs of the run as an artifact: the settings and the best policy.

        W&B gets copies beside its own record of the run: it would put others into the home folder, and a run that is
        continued writes a new best.pt before an offline one is uploaded.
        """
        files = [name for name in POLICY if (self._run_dir / name).is_file()]
        if POLICY[0] not in files:
            return
        folder = Path(self._run.dir).parent / "policy"
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._run_dir / name, folder / name)
        kept = {name: summary.get(name) for name in ("exp", "seed", "best_score", "frames", "commit")}
        artifact = wandb.Artifact(f"policy-{self._run.id}", type="model", metadata=kept)
        for name in files:
            artifact.add_file(str(folder / name), name=name, policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact, aliases=["best", "latest"])

    def state(self) -> State:
        return {"wandb_id": self._run.id}


def shortened(group: str | None) -> str | None:
    """Return a group that W&B takes; two that begin alike stay two."""
    if group is None or len(group) <= LONGEST:
        return group
    return f"{group[: LONGEST - 9]}-{zlib.crc32(group.encode()):08x}"


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
