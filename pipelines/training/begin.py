"""How a run begins: everything is built, or closed again, and a crash of the process leaves a word."""

import contextlib
import faulthandler
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
def crashes_told(run_dir: Path) -> Iterator[None]:
    """Should native code of an environment end the process, let train.log say where; nothing can be saved then.

    Raises:
        UsageError: it is a link.
    """
    before = faulthandler.is_enabled()
    try:
        file = open_itself(run_dir / "train.log", "a")
    except OSError:
        yield
        return
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            if before and sys.__stderr__ is not None:
                with contextlib.suppress(Exception):  # it may be no file of the system, and the run has ended well
                    faulthandler.enable(sys.__stderr__)  # not the one that a notebook or a test has put in its place
