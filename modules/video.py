"""Videos: frames as H.264."""

from collections.abc import Generator
from pathlib import Path
from types import TracebackType

import cv2
import imageio_ffmpeg
import numpy as np


class Writer:
    """A video file of `fps` frames per second that takes one frame after the other and keeps none.

    It appears as `path` when the context is left without an exception, if it has any frames; until then, and
    after an exception, what was there before stays as it was.

    Attributes:
        frames: how many it has so far.
    """

    def __init__(self, path: Path, *, fps: int) -> None:
        self._path, self._part, self._fps = path, path.with_suffix(".part"), fps
        self.frames = 0
        self._encoder: Generator[None, np.ndarray | None, None] | None = None

    def __enter__(self) -> "Writer":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append a frame [H, W, 3] of uint8; odd sizes are padded to even ones, which H.264 needs."""
        odd_rows, odd_columns = frame.shape[0] % 2, frame.shape[1] % 2
        even = cv2.copyMakeBorder(frame, 0, odd_rows, 0, odd_columns, cv2.BORDER_REPLICATE)
        self._encoder = self._encoder or self._started(even)
        self._encoder.send(np.ascontiguousarray(even))
        self.frames += 1

    def _started(self, frame: np.ndarray) -> Generator[None, np.ndarray | None, None]:
        encoder = imageio_ffmpeg.write_frames(
            str(self._part),
            (frame.shape[1], frame.shape[0]),
            fps=self._fps,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-f", "mp4"],  # which the name of the unfinished file does not tell
        )
        encoder.send(None)
        return encoder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._encoder is not None:
                self._encoder.close()
                if error is None:
                    self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)
