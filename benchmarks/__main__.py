"""Measure speed side by side: `python -m benchmarks [SECTION …] [--quick] [--write | --out FILE]`."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import torch

from benchmarks.acting import acting
from benchmarks.actors import actors
from benchmarks.compression import compression
from benchmarks.dqn import dqn
from benchmarks.learning import dqnloss, learner, scaling, tutorial
from benchmarks.measure import Missing, Pace, Table
from benchmarks.memories import memories
from benchmarks.novelty import novelty
from benchmarks.processes import processes
from benchmarks.r2d2 import r2d2
from benchmarks.replay import replay
from benchmarks.tour import tour
from modules.files import refuse_unwritable, write_text
from modules.spec import UsageError
from pipelines.config.settings import folder
from pipelines.console.command import command
from pipelines.console.output import write
from pipelines.training.summary import PACKAGES, commit

Section = Callable[[Pace], Iterable[Table | Missing]]
SECTIONS: Mapping[str, Section] = {
    section.__name__: section
    for section in (
        *(learner, acting, dqnloss, dqn, replay, compression, actors, processes),
        *(r2d2, novelty, memories, scaling, tour, tutorial),
    )
}
FULL = Pace(rounds=9, section_s=40, quick=False)
QUICK = Pace(rounds=3, section_s=3, quick=True)
PAGE = Path("docs/results/benchmark.md")
INTRODUCTION = """# Benchmark

Written by `python -m benchmarks`. All sides of a table are measured in turn (A B A B …)
in one process with the process settings of a run. A ratio is the median over the pairs of a round,
with minimum and maximum. Absolute speeds hold for one machine only.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    sections = "\n".join(f"  {name:<10}{section.__doc__}" for name, section in SECTIONS.items())
    parser = _Parser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"sections:\n{sections}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="what to measure (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few seconds per section, for a first look")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--write", action="store_true", help=f"also put the sections into {PAGE}, which keeps its others"
    )
    where.add_argument("--out", type=folder, metavar="FILE", help="also write the tables to FILE")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        raise UsageError(f"there is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    return options


def conditions(pace: Pace) -> str:
    """Describe what the figures of a section depend on besides its code."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    busy = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    threads = torch.get_num_threads()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Commit {commit() or 'unknown'}; {os.cpu_count()} CPUs{busy}, {gpu}; {threads} PyTorch threads unless the "
        f"experiment sets them; {packages}; {'quick look: ' if pace.quick else ''}{pace.rounds} rounds, "
        f"{pace.section_s:g} s, more where trainings are.\n"
    )


def report(name: str, pace: Pace) -> Iterator[str]:
    """Yield the text of a section piece by piece, as it is measured."""
    yield f"\n## {name}\n\n{SECTIONS[name].__doc__}\n\n{conditions(pace)}"
    for item in SECTIONS[name](pace):
        yield f"\n{item.markdown()}"


def page(measured: Mapping[str, str], before: str = "") -> str:
    """Text of all sections, those of the page `before` that are not `measured` among them."""
    _, *parts = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    known = {part.split()[1]: f"\n{part.rstrip()}\n" for part in parts} | dict(measured)
    return INTRODUCTION + "".join(known[name] for name in SECTIONS if name in known)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UsageError: a section that does not exist, or a file that cannot be written; nothing is measured then.
    """
    options = parse(argv)
    out = PAGE if options.write else options.out
    if out is not None:
        refuse_unwritable(out.parent, "--out")
        if out.is_dir():
            raise UsageError(f"--out: {out} is a folder; name a file")
    measured = dict.fromkeys(options.sections or SECTIONS, "")
    write(INTRODUCTION)
    for name in measured:
        for piece in report(name, QUICK if options.quick else FULL):
            measured[name] += piece
            write(piece)
    if out is not None:
        write_text(out, page(measured, PAGE.read_text() if options.write and PAGE.exists() else ""))


if __name__ == "__main__":
    with command():
        main()
