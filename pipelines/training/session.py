"""One sitting of a run, fresh or resumed: signals, summary, pictures, and an orderly end whatever happens."""

import contextlib
import json
import logging
import re
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from modules import checkpoint as checkpoints
from modules.callbacks import TrainingCallback
from modules.errors import BadValueError, NonFiniteError, told
from modules.files import describe_error, refuse_unwritable, write_text
from modules.plots.runs import ENDED
from modules.spec import UsageError
from pipelines.config.check import check, warn_of_endless, warn_of_few_updates
from pipelines.config.plugins import LOOKUP
from pipelines.config.schema import RunConfig, read
from pipelines.console.command import RunFailed
from pipelines.console.output import log_to_files, quote_path
from pipelines.console.signals import Asked, Stop, handled_by
from pipelines.training.begin import begun, train_log
from pipelines.training.counters import Counters
from pipelines.training.lock import lock
from pipelines.training.loop import Loop
from pipelines.training.pictures import draw_film, draw_pictures, missing_pictures
from pipelines.training.requeue import asking
from pipelines.training.run_folder import refuse_existing
from pipelines.training.summary import put_summary

log = logging.getLogger("recall")


def start(cfg: DictConfig, run_dir: Path, *, bar: bool, callbacks: Sequence[TrainingCallback] = ()) -> float | None:
    """Begin a run in `run_dir`; returns its score, or None for a dry run."""
    refuse_existing(run_dir)
    try:
        run = read(cfg)
        check(run, run_dir)
    except Exception as error:
        raise not_begun(error, None, run_dir, None) if run_dir.exists() and not cfg.dry else error from None
    warn_of_endless(run)
    warn_of_few_updates(run)
    if run.dry:
        log.info("dry run: the configuration is sound")
        return None
    return execute(run, run_dir, config_of(cfg), None, bar=bar, callbacks=callbacks)


def config_of(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain values; what it looks up in the process's environment stays a reference to that.

    `resume` says what a command is to do, and is no part of what a run is: it is `never`, whatever was said.
    """
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"  # in no text of a configuration: YAML and the command line forbid it

    def every_text(node: Any, change: Callable[[str], str]) -> Any:
        if isinstance(node, dict):
            return {str(key): every_text(value, change) for key, value in node.items()}
        if isinstance(node, list):
            return [every_text(value, change) for value in node]
        return change(node) if isinstance(node, str) else node

    without = every_text(OmegaConf.to_container(cfg), lambda text: LOOKUP.sub(keep, text))
    plain = OmegaConf.to_container(OmegaConf.create(without), resolve=True)
    config = every_text(plain, lambda text: re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], text))
    return {**config, "resume": "never"} if "resume" in config else config


def execute(
    run: RunConfig,
    run_dir: Path,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None,
    *,
    bar: bool,
    callbacks: Sequence[TrainingCallback] = (),
) -> float | None:
    """Train until the end, a signal or an error; everything is saved and closed in each case.

    Returns:
        The score.

    Raises:
        UsageError: another process works in `run_dir`, or what is there does not fit the configuration.
        RunFailed: the run ended in an error, which has been reported.
        SystemExit: 128 + signal number after a signal.
    """
    asked = Asked()
    with lock_folder(run_dir), train_log(run_dir, continued=checkpoint is not None), handled_by(asked, asking()):
        try:
            loop = begun(run, run_dir, config, checkpoint, callbacks, bar=bar)
        except BaseException as error:
            raise not_begun(error, run, run_dir, checkpoint) from None
        asked.loop = loop
        code, sentence = run_training(loop)
        if not code:
            report(loop)
    if code == 1:
        raise RunFailed(sentence)
    if code:
        raise SystemExit(code)
    return loop.counters.score["eval/return_mean"]


def not_begun(
    error: BaseException, run: RunConfig | None, run_dir: Path, checkpoint: Mapping[str, Any] | None
) -> BaseException:
    """Write down what went wrong before there was anything to save; return what to raise.

    What does not fit the folder of a run that is to be resumed is no part of that run: nothing is written.
    """
    if isinstance(error, UsageError) and checkpoint is not None:
        return error
    go_on = f"; continue by `{resume_command(run_dir, run)}`" if checkpoint else ""
    match error:
        case Stop():
            status, end = "interrupted", SystemExit(128 + error.signum)
            sentence = f"stopped by {signal.Signals(error.signum).name} before training began{go_on}"
        case Exception() | SystemExit():
            where = ""
            with contextlib.suppress(OSError):
                write_text(run_dir / "error.txt", "".join(traceback.format_exception(error)))
                where = f" (traceback in {run_dir / 'error.txt'})"
            sentence = f"failed before training began: {told(error)}{where}{go_on}"
            status, end = "failed", error if isinstance(error, UsageError) else RunFailed(sentence)
        case _:
            return error
    if isinstance(end, UsageError):  # whose sentence whoever catches it says
        log_to_files(sentence)
    else:
        log.error("%s", sentence)
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):  # of a summary that is damaged, too
        if checkpoint is None and run is not None:
            put_summary(run, run_dir, Counters(), status)
        elif checkpoint is not None:  # what the run has come to stays
            path = run_dir / "summary.json"
            write_text(path, json.dumps(json.loads(path.read_text()) | {"status": status}, indent=2) + "\n")
    return end


def run_training(loop: Loop) -> tuple[int, str]:
    """Run the loop to its end, whatever that is, and finish; return exit code and sentence, if it is no good end."""
    status, code, sentence = "finished", 0, ""
    try:
        write_summary(loop, "running")
        loop.train()
        loop.end_episodes_and_save()
        status = good_end(loop)
    except BaseException as error:
        try:
            status, code, sentence = ended_by(error, loop)
        except (KeyboardInterrupt, Stop) as again:  # asked twice, the second time while it was saved
            status, code, sentence = ended_by(KeyboardInterrupt(), loop)
            del again
        log.error("%s", sentence)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            loop.parts.callbacks.tell("on_end", loop, status)
    except Exception as error:
        with contextlib.suppress(OSError):
            write_text(loop.parts.run_dir / "error.txt", "".join(traceback.format_exception(error)))
        log.error("%s", told(error))
        status, code, sentence = ("failed", 1, told(error)) if not code else (status, code, sentence)
    with contextlib.suppress(KeyboardInterrupt):  # whoever asked twice does not wait for everything to close
        finish(loop, status)
    if loop.stop_signal and not code:
        name, code = signal.Signals(loop.stop_signal).name, 128 + loop.stop_signal
        missing = missing_pictures(loop.run, loop.parts.run_dir, loop.counters.frames)
        but = f"; {way_on(loop, last=False)}, which draws {', '.join(path.name for path in missing)}" if missing else ""
        log.error("stopped by %s at the end: the run is finished, and all of it is saved%s", name, but)
    return code, sentence


def good_end(loop: Loop) -> str:
    """Name how a run ended that nothing interrupted; one with all its frames is complete, whatever its trial is."""
    early = loop.frames < loop.run.total_frames
    return "pruned" if early and loop.parts.callbacks.pruned else "finished"


@contextlib.contextmanager
def lock_folder(run_dir: Path) -> Iterator[None]:
    """Keep other processes out of a run directory, which must be one to write in, while this one works in it."""
    refuse_unwritable(run_dir, "run directory")
    run_dir.mkdir(parents=True, exist_ok=True)
    with lock(run_dir):
        yield


def ended_by(error: BaseException, loop: Loop) -> tuple[str, int, str]:
    """Save what can be saved after `error`; return the run's status, exit code and a sentence for the user."""
    where = f"at frame {loop.counters.frames}"
    match error:
        case Stop():
            trouble = save(loop)
            how = f"but saving failed: {trouble}" if trouble else "all saved"
            how = f"{how}; {way_on(loop, last=bool(trouble))}"
            return "interrupted", 128 + error.signum, f"stopped by {signal.Signals(error.signum).name} {where}, {how}"
        case KeyboardInterrupt():
            return "interrupted", 128 + signal.SIGINT, f"stopped at once {where}; {way_on(loop, last=True)}"
        case NonFiniteError() if not isinstance(error, BadValueError):  # what was learned is lost; not what was seen
            return "failed", 1, f"stopped {where}: {error}; the checkpoint before it is kept, but resuming repeats this"
        case Exception() | SystemExit():
            path, traced = loop.parts.run_dir / "error.txt", ""
            with contextlib.suppress(OSError):
                write_text(path, "".join(traceback.format_exception(error)))
                traced = f" (traceback in {path})"
            trouble = save(loop)
            too = f", and saving failed too: {trouble}" if trouble else ""
            return "failed", 1, f"failed {where}: {told(error)}{traced}{too}; {way_on(loop, last=bool(trouble))}"
    raise error


def save(loop: Loop) -> str:
    """Save what is not saved yet; say why if that is not possible."""
    try:
        loop.end_episodes_and_save()
    except Exception as error:  # what broke the run may break this too, and must not be hidden by it
        return told(error)
    return ""


def way_on(loop: Loop, *, last: bool) -> str:
    """Say how to continue, from what is saved or, with `last`, from the last checkpoint before."""
    run_dir = loop.parts.run_dir
    if loop.counters.frames == 0 or not checkpoints.list_checkpoints(run_dir / "checkpoints"):
        return f"nothing was learned yet: delete {quote_path(run_dir)} and start again"
    where = " from the last checkpoint" if last else ""
    return f"continue by `{resume_command(run_dir, loop.run)}`{where}"


def resume_command(run_dir: Path, run: RunConfig | None) -> str:
    """The words that continue a run."""
    plugins = f" plugins=[{','.join(run.plugins)}]" if run is not None and run.plugins else ""
    return f"python -m pipelines.resume run={quote_path(run_dir)}{plugins}"


def finish(loop: Loop, status: str) -> None:
    """Write summary and pictures, and close everything; one failure does not keep the rest from closing."""
    parts = loop.parts
    with contextlib.ExitStack() as stack:
        stack.callback(loop.progress.close)
        stack.callback(parts.close)
        # Finished is what a run is when nothing is left to do: until then, `resume` makes up for what is missing.
        summary = try_summary(loop, "running" if status in ENDED else status)
        stack.callback(lambda: parts.logger.finish(summary))
        for draw in (draw_pictures, *([draw_film] if status in ENDED and parts.run.video else [])):
            try:
                draw(loop)
            except (Exception, SystemExit, Stop) as error:  # a picture is not worth a run
                log.warning("no picture: %s", told(error))
        summary = try_summary(loop, status)
        if status in ENDED:
            with contextlib.suppress(OSError):
                (parts.run_dir / "error.txt").unlink(missing_ok=True)  # of a sitting before this one


def try_summary(loop: Loop, status: str) -> dict[str, Any]:
    """Write summary.json, if there is room for it."""
    try:
        return write_summary(loop, status)
    except OSError as error:  # a full disk: the checkpoints before it are whole
        log.warning("no summary.json: %s", describe_error(error))
        return {}


def report(loop: Loop) -> None:
    """Say where the result is."""
    score, run_dir = loop.counters.score, loop.parts.run_dir
    log.info(
        "%s: greedy return %.1f ± %.1f over %d episodes (best evaluation %.1f); everything is in %s",
        good_end(loop),
        score["eval/return_mean"], score["eval/return_std"], score["eval/episodes"], loop.counters.best_score, run_dir,
    )  # fmt: skip


def write_summary(loop: Loop, status: str) -> dict[str, Any]:
    """Write summary.json, atomically, and return what it says."""
    parts, wall_s = loop.parts, loop.wall_s
    counts = {"updates": parts.learner.updates, "wall_s": wall_s, "run_id": parts.identity.id}
    return put_summary(loop.run, parts.run_dir, loop.counters, status, **counts)
