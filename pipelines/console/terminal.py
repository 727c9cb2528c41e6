"""An episode as text: what is shown of it, frames that replace each other, single key presses."""

import os
import re
import shutil
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TextIO

from tensordict import TensorDictBase
from torchrl.envs import Transform

from modules import keys
from modules.envs.base import EnvContext, EnvSpec
from modules.envs.episode_tracker import tracker_of
from pipelines.console.signals import ENDING, handled_by

COLOURS = {"#": "90", ".": "2", "G": "1;94", "g": "36", "=": "36", "^<v>": "1;93"}  # ANSI, by the signs of a map
SIGNS = re.compile(r"#+|\.+|G+|g+|=+|[\^<v>]")
MAP = re.compile(r"[#.Gg=^<v>\d\s-]*[#.Gg=^<v>][#.Gg=^<v>\d\s-]*")
END_OF_TRANSMISSION = "\x04"  # what Ctrl-D sends when single keys are read


class Stage:
    """One environment that is shown as text, and how far its episode is.

    Attributes:
        now: what the environment says, [1].
        episode_return: undiscounted, so far.
    """

    def __init__(self, spec: EnvSpec, transforms: Sequence[Transform], *, seed: int) -> None:
        self._spec = spec.as_text()
        self._env = self._spec.build(EnvContext(1, transforms))
        self._env.set_seed(seed)
        self.restart()

    def restart(self) -> None:
        """Begin the next episode."""
        self.now: TensorDictBase = self._env.reset()
        self.over, self.episode_return, self._told = False, 0.0, ""

    def act(self, chosen: TensorDictBase) -> None:
        """Take the action in `chosen`, which is `now` with what the policy added."""
        after = self._env.step(chosen)
        there, action = after["next"], int(after[keys.ACTION])
        self.over, self.episode_return = bool(there[keys.DONE]), float(there[keys.EPISODE_RETURN])
        name = self._spec.actions[action] if self._spec.actions else str(action)
        self._told = f"action {name}, reward {tracker_of(self._env).paid.item():.4g}"
        if self.over:
            how = "ended" if bool(there[keys.TERMINATED]) else "ran out of time"
            steps = int(there[keys.STEP_COUNT])
            self._told += f"\nepisode {how} after {steps} steps, return {self.episode_return:.4g}"
        self.now = self._env.step_mdp(after)

    def text(self) -> str:
        """The environment as it is, and what the last action brought; raises `UsageError` if it has no text view."""
        return "\n".join(filter(None, (self._spec.text(self._env), self._told)))

    def close(self) -> None:
        self._env.close()


class Screen:
    """Shows frames: on a terminal each in the place of the one before, elsewhere below it."""

    def __init__(self, stream: TextIO) -> None:
        self.live = stream.isatty()
        self._stream, self._lines = stream, 0

    def show(self, frame: str) -> None:
        """Write `frame`; one that is higher than the terminal stands below the one before, a wider one is cut."""
        size = shutil.get_terminal_size()
        if self.live:
            frame = cut(frame, size.columns)
            frame = frame if os.environ.get("NO_COLOR") else coloured(frame)
        fits = self._lines < size.lines
        back = f"\x1b[{self._lines}F\x1b[J" if self.live and self._lines and fits else ""
        self._lines = frame.count("\n") + 1
        self._stream.write(back + frame + ("\n" if self.live else "\n\n"))
        self._stream.flush()


def coloured(frame: str) -> str:
    """Colour the lines of a map, which have none but its characters; a frame with colours of its own stays as it is."""

    def paint(found: re.Match[str]) -> str:
        colour = next(colour for signs, colour in COLOURS.items() if found[0][0] in signs)
        return f"\x1b[{colour}m{found[0]}\x1b[0m"

    lines = frame.split("\n")
    return "\n".join(SIGNS.sub(paint, line) if MAP.fullmatch(line) else line for line in lines)


def cut(frame: str, columns: int) -> str:
    """Cut lines that are wider than `columns`, which a terminal would break into several, and say so."""
    lines = frame.split("\n")
    widest = max(map(len, lines))
    if widest <= columns:
        return frame
    lines.append(f"cut: needs {widest} columns, has {columns}")
    return "\n".join(line if len(line) <= columns else line[: columns - 1] + "…" for line in lines)


@contextmanager
def key_presses(stream: TextIO) -> Iterator[Iterator[str]]:
    """Yield an iterator over keys as they are pressed, or over the characters of a stream that is no terminal.

    The terminal is as before afterwards, also when a signal ends the process.
    """
    if not stream.isatty():
        yield (key for key in iter(lambda: stream.read(1), "") if key != "\n")
        return
    with ending_on_signals():
        before = termios.tcgetattr(stream)
        try:
            tty.setcbreak(stream)
            yield iter(lambda: stream.read(1).replace(END_OF_TRANSMISSION, ""), "")
        finally:
            termios.tcsetattr(stream, termios.TCSADRAIN, before)


def ending_on_signals() -> AbstractContextManager[None]:
    """Let signals that end the process do so as an exception, 128 + their number as exit code, with all clean-up."""

    def end(signum: int, _: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    return handled_by(end, ENDING)
