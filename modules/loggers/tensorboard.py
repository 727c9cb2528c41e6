"""TensorBoard event files; imported only where TensorBoard is wanted, since the import takes long."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from modules.loggers.base import Logger, Row, dotted, numbers_in
from modules.metrics import SCORE


class TensorboardLogger(Logger):
    """Scalars with step = frames, pictures and hyperparameters in `run_dir/tensorboard`.

    Args:
        config: the settings; all but those of the logger are hyperparameters.
        frames: those of the checkpoint that the run resumes from; 0 for a new run. What an interrupted run
            wrote after them is hidden by TensorBoard (it stays in the old event file).
    """

    def __init__(self, run_dir: Path, *, config: Mapping[str, object], frames: int) -> None:
        self._run_dir = run_dir
        self._frames = frames
        # Purging hides the steps from purge_step on; the checkpoint's own log event comes before it is saved.
        self._writer = SummaryWriter(run_dir / "tensorboard", purge_step=frames + 1 if frames else None)
        self._open = True
        chosen = {name: value for name, value in dotted(config) if not name.startswith("logger.")}
        plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in chosen.items()}
        # The score is the scalar of that name in this folder; `add_hparams` would write another into one of its own.
        *begins, self._ended = hparams(plain, {SCORE: 0.0})
        for event in begins if plain else ():
            self._writer._get_file_writer().add_summary(event)

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Write one point per metric and flush, so that a killed run keeps them."""
        self._frames = frames
        for name, value in metrics.items():
            self._writer.add_scalar(name, float(value), frames)
        self._writer.flush()

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        self.log(frames, numbers_in(name, rows))

    def image(self, frames: int, path: Path) -> None:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)  # reads from folders of any name
        assert picture is not None
        self._writer.add_image(path.stem, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), frames, dataformats="HWC")
        self._writer.flush()

    def video(self, frames: int, path: Path) -> None:
        """Name the file: an event file can only hold a video that is encoded again, as a GIF."""
        place = path.relative_to(self._run_dir) if path.is_relative_to(self._run_dir) else path
        self._writer.add_text("video", str(place), frames)
        self._writer.flush()

    def finish(self, summary: Mapping[str, object]) -> None:
        """Write the summary as text at the last frames logged and close."""
        if self._open:
            self._open = False
            if summary.get("status") == "finished":
                self._writer._get_file_writer().add_summary(self._ended)
            text = json.dumps(summary, indent=2, default=str).replace("\n", "\n    ")
            self._writer.add_text("summary", f"    {text}", self._frames)
            self._writer.close()
