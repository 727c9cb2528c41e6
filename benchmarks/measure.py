"""Timing side by side, and tables of what came out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long to measure: at most `rounds` rounds and about `section_s` seconds per section.

    `quick` selects short sweeps.
    """

    rounds: int
    section_s: float
    quick: bool

    def part(self, parts: int) -> "Pace":
        """Give each of `parts` measurements of a section its share of the time."""
        return Pace(rounds=self.rounds, section_s=self.section_s / parts, quick=self.quick)


@dataclass(frozen=True)
class Ratio:
    """Median and extremes of the ratios of neighbouring measurements."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


@dataclass(frozen=True)
class Times:
    """Seconds per call of each side, one entry per round."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, side: str) -> float:
        """Median seconds per call."""
        return median(self.seconds[side])

    def speed(self, side: str, other: str) -> Ratio:
        """How many times as fast as `other` `side` is, from pairs of the same round."""
        pairs = [b / a for a, b in zip(self.seconds[side], self.seconds[other], strict=True)]
        return Ratio(median(pairs), min(pairs), max(pairs))


def interleave(sides: Mapping[str, Callable[[], object]], pace: Pace) -> Times:
    """Time all sides in turn, A B A B …: what slows the machine down then slows all of them.

    Each side gets an equal share of the time, and at least one call per round, after some that warm it up.
    """
    single = {name: _warm(call) for name, call in sides.items()}
    rounds = min(pace.rounds, max(1 if pace.quick else 3, int(pace.section_s / sum(single.values()))))
    share = pace.section_s / (rounds * len(sides))
    calls = {name: max(1, int(share / seconds)) for name, seconds in single.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            seconds[name].append(_timed(call, calls[name]))
    return Times(seconds)


def _warm(call: Callable[[], object]) -> float:
    """Seconds of one call, from the fastest of four; only one is made if it is too slow to repeat."""
    first = _timed(call, 1)
    return first if first > 1 else min(_timed(call, 1) for _ in range(3))


def _timed(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if torch.cuda.is_initialized():  # kernels run on after their launch returns
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


@dataclass(frozen=True)
class Table:
    """One result; the first `names` columns are text, the rest numbers; `notes` say how it was measured."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    names: int = 1

    def markdown(self) -> str:
        """Lay the table out so that it reads well with and without a Markdown viewer."""
        columns = list(zip(self.header, *self.rows, strict=True))
        widths = [max(3, *map(len, column)) for column in columns]

        def line(cells: Sequence[str]) -> str:
            pairs = enumerate(zip(cells, widths, strict=True))
            padded = [cell.ljust(w) if i < self.names else cell.rjust(w) for i, (cell, w) in pairs]
            return f"| {' | '.join(padded)} |"

        rule = ["-" * w if i < self.names else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
        lines = [f"### {self.title}", "", line(self.header), line(rule), *map(line, self.rows)]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip() + "\n"


@dataclass(frozen=True)
class Missing:
    """A result that could not be measured, and why."""

    title: str
    reason: str

    def markdown(self) -> str:
        """Say so in place of the table."""
        return f"### {self.title}\n\nSkipped: {self.reason}\n"


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:#.3g}".rstrip(".")


def target(ratio: Ratio, at_least: float) -> str:
    """Compare a median with what the project asks for."""
    return f"≥ {at_least:g}: {'met' if ratio.median >= at_least else 'missed'}"
