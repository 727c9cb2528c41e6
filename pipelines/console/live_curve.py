"""The learning curve of a run in the output of a notebook's cell, drawn anew while the run goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.callbacks import Training, TrainingCallback
from modules.plots.curve import CURVE, SCORE, learning_curve
from modules.plots.figure import with_palette

WIDTH = 640  # pixels on the page


class LiveCurve(TrainingCallback):
    """Shows `learning_curve.png` beneath the cell, in one place, whenever it has changed."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown: bytes = b""

    def on_row(self, training: Training, metrics: Mapping[str, float]) -> None:
        if SCORE in metrics and (training.run_dir / CURVE).exists():
            self._show(training.run_dir / CURVE)

    def on_end(self, training: Training, status: str) -> None:
        if (path := learning_curve(training.run_dir)) is not None:
            self._show(path)

    def _show(self, path: Path) -> None:
        from IPython.display import Image, display  # pyright: ignore[reportMissingImports] - an extra

        if (data := path.read_bytes()) == self._shown:
            return
        self._shown, picture = data, Image(data=with_palette(data), width=WIDTH)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
