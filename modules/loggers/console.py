"""The live view of a run: a bar on a terminal, log lines elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

_LOG = logging.getLogger("recall")

SILENCE_S = 30  # between two words about something that takes long

# Metric → how it is shown.
_SHOWN = {
    "eval/return_mean": "score {:.4g}",
    "loss/q": "loss {:.2g}",
    "train/epsilon": "ε {:.2f}",
    "train/temperature": "temperature {:.2g}",
    "perf/frames_per_s": "{:.0f} frames/s",
    "perf/updates_per_s": "{:.0f} updates/s",
}


class Waiting:
    """Says through the logger "recall", twice a minute, how far something is that keeps a run waiting."""

    _last_s: float | None = None  # when it began, or something was said

    def restart(self) -> None:
        """Something else continued."""
        self._last_s = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say it if it is time to."""
        now = time.monotonic()
        if self._last_s is None:
            self._last_s = now
        elif now - self._last_s >= SILENCE_S:
            self._last_s = now
            _LOG.info("%s: %d of %d episodes so far", what, done, total)


class Progress:
    """Show how far a run is and how well it does.

    Args:
        start_frames: the frames at which it starts, 0 unless it is resumed.
        bar: draw a bar if stderr is a terminal or a notebook's; otherwise `show` writes a line through the logger
            "recall". Bars of parallel jobs overwrite each other, so a multirun passes False.
    """

    def __init__(self, total_frames: int, start_frames: int, *, bar: bool, loss: str = "loss/q") -> None:
        self._total = total_frames
        self._shown = {loss if name == "loss/q" else name: text for name, text in _SHOWN.items()}
        self._start = start_frames
        self._frames = start_frames
        self._began_s = time.perf_counter()
        self._latest: dict[str, float] = {}
        self._waiting, self._waits_for = Waiting(), ""
        self._bar = tqdm(
            total=total_frames,
            initial=start_frames,
            disable=not (bar and _drawable()),
            file=sys.stderr,
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5,  # seconds
            bar_format="{bar} {n_fmt}/{total_fmt} {remaining} left {desc}",  # fits 80 columns
        )

    def advance(self, frames: int) -> None:
        """Count `frames` more; redraws at most twice per second."""
        self._frames += frames
        self._waiting.restart()
        # tqdm drops the bar when the last batch passes the total.
        self._bar.update(min(self._frames, self._total) - self._bar.n)

    def show(self, metrics: Mapping[str, float]) -> None:
        """Show the view with the values in `metrics`; one that is not in it keeps its last value."""
        self._latest.update({name: float(metrics[name]) for name in self._shown if name in metrics})
        self._waits_for = ""
        if self._bar.disable:
            frames = min(self._frames, self._total)  # the last batch may pass the total
            share = f"{frames:,}/{self._total:,} frames ({frames / self._total:.0%})"
            _LOG.info("%s", ", ".join([share, *self._values(), f"{self._left()} left"]))
        else:
            self._bar.set_description_str(" ".join(self._values()))

    def wait(self, what: str, done: int, total: int) -> None:
        """Show how far an evaluation is: the bar at once, lines only if it takes long."""
        if self._bar.disable:
            self._waiting(what, done, total)
        elif (text := f"{what} {done}/{total}") != self._waits_for:
            self._waits_for = text
            self._bar.set_description_str(text)

    def close(self) -> None:
        """Leave the bar with the last values and release the terminal; a second call does nothing."""
        if self._waits_for:  # what was waited for, a film, is over
            self._bar.set_description_str(" ".join(self._values()))
        self._bar.close()

    def _values(self) -> list[str]:
        return [text.format(self._latest[name]) for name, text in self._shown.items() if name in self._latest]

    def _left(self) -> str:
        done = self._frames - self._start
        if done <= 0:
            return "?"
        seconds = (time.perf_counter() - self._began_s) / done * max(0, self._total - self._frames)
        return tqdm.format_interval(seconds)


def in_notebook() -> bool:
    """Tell whether this runs in a notebook, whose cells show pictures and redraw lines."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def _drawable() -> bool:
    """Return whether stderr can redraw a line: in a notebook, or a terminal of known size; in 0 columns tqdm cannot."""
    if in_notebook():  # whose stderr is no terminal
        return True
    return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
