"""Videos: frames as H.264."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

FPS = 30


def write(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write frames [H, W, 3] of uint8 as a video; odd sizes are padded to even ones, which H.264 needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    even = [cv2.copyMakeBorder(f, 0, f.shape[0] % 2, 0, f.shape[1] % 2, cv2.BORDER_REPLICATE) for f in frames]
    height, width = even[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=FPS, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    for frame in even:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
