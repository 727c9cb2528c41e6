"""What stands beneath the frames of a film: step, return, seed, action, and the values that it was chosen by."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from modules.plots.video import PAPER, RULE, WIDE

NARROWEST = 320  # pixels: narrower frames are enlarged, so that there is room for the words
LINE, ROW, EDGE, SIZE = 20, 17, 8, 13  # pixels: of a line of words, of a bar, beside both, of letters; of narrow frames
COLUMN, BARS_IN_COLUMN, MOST = 150, 6, 24  # pixels of a column of bars at least; bars in one; bars at all
INK, PALE = (40, 40, 40), (130, 130, 130)
TAKEN, OTHER = (0, 114, 178), (190, 200, 208)  # bars of the action that was taken, and of the others
PLAIN, BOLD = 400, 600  # weights of letters


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known when a frame is seen.

    Attributes:
        episode: its number in the film, from 1.
        step: steps made before, in this episode.
        episode_return: undiscounted, of these.
        action: taken now; None at an episode's end.
        values: of all actions, by which it was chosen, [A]; NaN where one is not allowed. None if there are none.
        over: how the episode ended, in words; "" while it goes on.
    """

    episode: int
    step: int
    episode_return: float
    action: int | None = None
    values: np.ndarray | None = None
    over: str = ""


class Margin:
    """Writes beneath the frames of one film; all frames of one width get a margin of one height.

    Args:
        actions: a word each.
        seed: of the film.
        bars: whether there are values; with more than `MOST` actions they are left out.
    """

    def __init__(self, actions: Sequence[str], *, seed: int, bars: bool) -> None:
        self._actions, self._seed = actions, seed
        self._bars = bars and len(actions) <= MOST
        self._low, self._high = np.inf, -np.inf  # of all values in the film so far
        self._font = cv2.FontFace("sans")

    def under(self, frame: np.ndarray, moment: Moment) -> np.ndarray:
        """Write beneath a frame [H, W, 3] of uint8, which stays as it is."""
        width = frame.shape[1]
        size = max(1, width // WIDE)
        columns = min(ceil(len(self._actions) / BARS_IN_COLUMN), max(1, width // (COLUMN * size)))
        rows = ceil(len(self._actions) / columns) if self._bars else 0
        height = (2 * LINE + rows * ROW + EDGE // 2) * size
        margin = np.full((height, width, 3), PAPER, np.uint8)
        margin[:size] = RULE
        self._words(margin, moment, size)
        if self._bars and moment.values is not None:
            self._draw_bars(margin, moment, size, columns, rows)
        return np.concatenate((frame, margin))

    def _words(self, margin: np.ndarray, moment: Moment, size: int) -> None:
        left, right, first, second = EDGE * size, margin.shape[1] - EDGE * size, 15 * size, (LINE + 14) * size
        self._text(margin, f"step {moment.step}", left, first, size)
        self._text(margin, f"return {moment.episode_return:.4g}", margin.shape[1] * 3 // 10, first, size)
        self._text(margin, f"episode {moment.episode}, seed {self._seed}", right, first, size, PALE, at_end=True)
        said = moment.over if moment.action is None else f"action {self._actions[moment.action]}"
        self._text(margin, said, left, second, size, weight=BOLD)
        if moment.values is not None and self._bars:
            self._see(moment.values)
            between = f"values, bars from {self._low:.3g} to {self._high:.3g}"
            self._text(margin, between, right, second, size, PALE, at_end=True)

    def _see(self, values: np.ndarray) -> None:
        self._low, self._high = min(self._low, np.nanmin(values)), max(self._high, np.nanmax(values))

    def _draw_bars(self, margin: np.ndarray, moment: Moment, size: int, columns: int, rows: int) -> None:
        """Draw a bar per action, from the lowest to the highest value of the film so far."""
        assert moment.values is not None
        edge, slot = EDGE * size, (margin.shape[1] - EDGE * size) // columns
        names = min(max(self._wide(name, size) for name in self._actions), slot * 2 // 5)
        numbers = max(self._wide(f"{value:.3g}", size) for value in (self._low, self._high, -8.88))
        longest = slot - names - numbers - 3 * edge
        for action, value in enumerate(moment.values.tolist()):
            column, row = divmod(action, rows)
            x, y = edge + column * slot, (2 * LINE + row * ROW) * size
            ink, weight = (INK, BOLD) if action == moment.action else (PALE, PLAIN)
            self._text(margin, self._cut(self._actions[action], names, size), x, y + 12 * size, size, ink, weight)
            if np.isnan(value):
                continue
            share = (value - self._low) / (self._high - self._low) if self._high > self._low else 0.5
            end = x + names + edge + max(size, round(share * longest))
            colour = TAKEN if action == moment.action else OTHER
            margin[y + 3 * size : y + (ROW - 3) * size, x + names + edge : end] = colour
            self._text(margin, f"{value:.3g}", end + edge // 2, y + 12 * size, size, ink, weight)

    def _text(
        self,
        margin: np.ndarray,
        text: str,
        x: int,
        y: int,
        size: int,
        ink: tuple[int, int, int] = INK,
        weight: int = PLAIN,
        *,
        at_end: bool = False,
    ) -> None:
        if at_end:
            x -= self._wide(text, size, weight)
        cv2.putText(margin, text, (x, y), ink, self._font, SIZE * size, weight)

    def _wide(self, text: str, size: int, weight: int = BOLD) -> int:
        """Pixels of a text."""
        return cv2.getTextSize((0, 0), text, (0, 0), self._font, SIZE * size, weight)[2]

    def _cut(self, name: str, pixels: int, size: int) -> str:
        """Shorten a name that is wider than so many pixels."""
        while len(name) > 1 and self._wide(name, size) > pixels:
            name = name[:-2] + "…"
        return name


def enlarged(frame: np.ndarray) -> np.ndarray:
    """Copy a frame [H, W, 3], as many times larger as it takes to be `NARROWEST` wide."""
    times = ceil(NARROWEST / frame.shape[1])
    return np.array(frame) if times == 1 else frame.repeat(times, 0).repeat(times, 1)
