"""Videos: frames as H.264, and what is drawn beneath them."""

import errno
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from modules.errors import BadValueError
from modules.files import make_folder

BAND, TEXT, STEP = 40, 16, 4  # pixels: of a band of the strip, of its text, between two steps; of narrow frames
WIDE = 480  # pixels: wider frames have everything as many times larger
PAPER, RULE = (255, 255, 255), (221, 221, 221)
ENCODED = ("-preset", "veryfast", "-tune", "animation")  # for drawn pictures, and faster than x264's defaults
GIF_FPS, GIF_S, GIF_WIDE = 10, 20, 480  # frames per second, seconds and pixels of width at most
INKS = ((0, 114, 178), (213, 94, 0))  # of the bands, from above


class Strip:
    """Numbers of an episode's steps so far, drawn beneath its frames: all of them, the newest at the right edge.

    One or two lines, each in a band of its own from 0 to the highest value that the film has seen; the strip is as high
    either way, so that all frames have one size.
    """

    def __init__(self) -> None:
        self._lines: dict[str, list[float]] = {}
        self._highest: dict[str, float] = {}

    def under(self, frame: np.ndarray, values: Mapping[str, float]) -> np.ndarray:
        """Draw the strip beneath a frame [H, W, 3] of uint8.

        Args:
            frame: what the step led to; it stays as it is.
            values: of the step, at most two, always under the same names; none where an episode starts.
        """
        if not values:
            self._lines = {}
        for name, value in values.items():
            self._lines.setdefault(name, []).append(value)
            self._highest[name] = max(value, self._highest.get(name, 0.0))
        width = frame.shape[1]
        size = max(1, width // WIDE)
        strip = np.full((2 * BAND * size, width, 3), PAPER, np.uint8)
        bands = np.split(strip, max(1, len(self._lines)))
        for band, ink, (name, line) in zip(bands, INKS, self._lines.items(), strict=False):
            _draw(band, name, line, self._highest[name], ink, size)
        strip[:size] = RULE
        return np.concatenate((frame, strip))


def _draw(band: np.ndarray, name: str, line: list[float], highest: float, ink: tuple[int, ...], size: int) -> None:
    """Draw a line over the whole width of a band [H, W, 3], and write its last value above it."""
    height, width = band.shape[:2]
    font = (cv2.FONT_HERSHEY_SIMPLEX, 0.4 * size, ink, size, cv2.LINE_AA)
    cv2.putText(band, f"{name} {line[-1]:.2f}, highest {highest:.2f}", (4 * size, (TEXT - 4) * size), *font)
    edge = 3 * size  # room for the dot
    apart = min(STEP * size, (width - 2 * edge) / max(1, len(line) - 1))
    across = width - edge - apart * np.arange(len(line))[::-1]
    up = np.asarray(line) / (highest or 1.0) * (height - (TEXT * size) - 2 * edge)
    points = np.stack((across, height - edge - up), 1).round().astype(np.int32)
    cv2.polylines(band, [points], isClosed=False, color=ink, thickness=size, lineType=cv2.LINE_AA)
    cv2.circle(band, points[-1].tolist(), 2 * size, ink, cv2.FILLED, cv2.LINE_AA)


class Writer:
    """A video file of `fps` frames per second that takes one frame after the other and keeps none.

    It appears as `path` when the context is left without an exception, if it has any frames; until then, and
    after an exception, what was there before stays as it was. A folder behind a link is a `UsageError`.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path, self._part, self._fps = path, path.with_suffix(".part"), fps
        self.frames, self._shape = 0, ()
        self._encoder: Generator[None, np.ndarray | None, None] | None = None

    def __enter__(self) -> "Writer":
        make_folder(self._path.parent)
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append a frame [H, W, 3] of uint8; odd sizes are padded to even ones, which H.264 needs.

        Raises:
            BadValueError: its size is not that of the first frame.
        """
        self._shape = self._shape or frame.shape
        if frame.shape != self._shape:
            raise BadValueError(
                f"frame {self.frames} is {frame.dtype} {list(frame.shape)}, but the film began with "
                f"{list(self._shape)}: all frames must have one size"
            )
        odd_rows, odd_columns = frame.shape[0] % 2, frame.shape[1] % 2
        even = cv2.copyMakeBorder(frame, 0, odd_rows, 0, odd_columns, cv2.BORDER_REPLICATE)
        self._encoder = self._encoder or self._start(even)
        try:
            self._encoder.send(np.ascontiguousarray(even))
        except OSError as error:  # it names the whole command
            text = "the film's encoder has stopped, for the reason that it gives on stderr"
            raise OSError(errno.EPIPE, text, str(self._path)) from error
        self.frames += 1

    def _start(self, frame: np.ndarray) -> Generator[None, np.ndarray | None, None]:
        self._part.unlink(missing_ok=True)  # whatever it is: through a link of that name, another file would be written
        encoder = imageio_ffmpeg.write_frames(
            str(self._part.absolute()),  # ffmpeg reads `a:b` as a protocol, and `-a` as an option
            (frame.shape[1], frame.shape[0]),
            fps=self._fps,  # pyright: ignore[reportArgumentType] - a float is as welcome
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=[*ENCODED, "-f", "mp4"],  # which the name of the unfinished file does not tell
        )
        encoder.send(None)
        return encoder

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._encoder is not None:
                self._encoder.close()
                if error is None:
                    self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


def gif_of(film: Path, *, fps: float) -> Path:
    """Write the beginning of a film beside it as a GIF, which pages show where they show no films; return its path.

    Raises:
        OSError: the encoder could not write it.
    """
    path, part = film.with_suffix(".gif"), film.with_suffix(".gif.part")
    part.unlink(missing_ok=True)  # through a link of that name, another file would be written
    colours = "split[all][some];[some]palettegen=stats_mode=diff[few];[all][few]paletteuse=dither=none"
    size = f"scale='min({GIF_WIDE},iw)':-1:flags=area"
    words = ["-i", str(film.absolute()), "-t", str(GIF_S), "-vf", f"fps={min(fps, GIF_FPS)},{size},{colours}"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *words, "-f", "gif", str(part.absolute())]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if ended.returncode:
            why = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it was stopped"]
            raise OSError(errno.EIO, f"no GIF of the film: {why[0]}", str(path))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
