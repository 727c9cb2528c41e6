"""How a run begins: everything is built, or closed again, and a crash of the process leaves a word."""

import contextlib
import faulthandler
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from modules.callbacks import TrainingCallback
from modules.files import open_itself, write_text
from modules.loggers import Progress
from pipelines.config.schema import RunConfig
from pipelines.training.build import build
from pipelines.training.loop import Loop
from pipelines.training.run_folder import clear, refuse_links

LINE = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"  # of a log, as Hydra writes it


def begun(
    run: RunConfig,
    run_dir: Path,
    config: Mapping[str, Any],
    checkpoint: Mapping[str, Any] | None,
    callbacks: Sequence[TrainingCallback],
    *,
    bar: bool,
) -> Loop:
    """Build everything, and load what `checkpoint` has of it."""
    refuse_links(run_dir)
    settings = OmegaConf.to_yaml(OmegaConf.create(dict(config)))
    if checkpoint is None:  # a resumed run keeps its own until all that is there is known to fit
        clear(run_dir)
        write_text(run_dir / "config.yaml", settings)
    with contextlib.ExitStack() as made:
        parts = build(run, run_dir, config, checkpoint, callbacks)
        made.callback(parts.logger.finish, {"status": "failed"})
        made.callback(parts.close)
        write_text(run_dir / "config.yaml", settings)
        began = checkpoint["frames"] if checkpoint else 0
        loop = Loop(parts, Progress(run.total_frames, began, bar=bar, loss=run.loss.metric))
        made.callback(loop.progress.close)
        if checkpoint:
            loop.load(checkpoint)
        made.pop_all()
    return loop


@contextlib.contextmanager
def train_log(run_dir: Path, *, continued: bool) -> Iterator[None]:
    """Have train.log say where native code of an environment ended the process, if it does; nothing can be saved then.

    Of a run that is `continued` it gets all that is said, unless Hydra sees to that, as it does for `train`.

    Raises:
        UsageError: it is a link.
    """
    before, root = faulthandler.is_enabled(), logging.getLogger()
    try:
        file = open_itself(run_dir / "train.log", "a", encoding="utf-8", errors="backslashreplace")
    except OSError:
        yield
        return
    with file:
        faulthandler.enable(file)
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter(LINE))
        if continued and not any(is_file_of(other, run_dir / "train.log") for other in root.handlers):
            root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            faulthandler.disable()
            if before and sys.__stderr__ is not None:
                with contextlib.suppress(Exception):  # it may be no file of the system, and the run has ended well
                    faulthandler.enable(sys.__stderr__)  # not the one that a notebook or a test has put in its place


def is_file_of(handler: logging.Handler, path: Path) -> bool:
    """Tell whether a handler of logs writes into the file `path`."""
    return isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path.absolute()
