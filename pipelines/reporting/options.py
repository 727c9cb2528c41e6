"""What a report is asked for: the words of its command line."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.plots.figure import FORMATS
from modules.plots.runs import SCORE_METRIC
from modules.spec import UsageError
from pipelines.config.settings import folder
from pipelines.console.command import Parser
from pipelines.console.output import one_line


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named value of `metric`, for one `exp` or, if that is empty, for all."""

    exp: str
    metric: str
    name: str
    value: float


def parse(argv: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """Read and check the words of the command line."""
    parser = Parser(prog="python -m pipelines.report", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("runs", nargs="+", type=folder, help="run directories, or folders above several")
    add("--against", nargs="+", type=folder, default=[], help="the runs to compare with: side B")
    add(
        "--by",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="settings that tell groups apart (all that the runs of an experiment and a memory differ in)",
    )
    add("--table", action="store_true", help="one line per experiment, one column per variant; a picture of each")
    add("--target", nargs="+", default=[], metavar="[EXP=]RETURN", help="return to be reached, of all or one exp")
    add("--metric", default=SCORE_METRIC, help="column of metrics.csv or timing.csv (%(default)s)")
    add(
        "--panels",
        nargs="+",
        default=[],
        metavar="METRIC",
        help="curves to draw side by side, e.g. with eval/length_mean",
    )
    add("--lines", nargs="+", default=[], metavar="[EXP:][METRIC:]NAME=VALUE", help="lines across the curves")
    add("--formats", nargs="+", default=["png"], metavar="FORMAT", help=f"of the pictures: {', '.join(FORMATS)} (png)")
    add("--out", type=folder, default=Path("outputs/report"), help="folder to write to (%(default)s)")
    add("--labels", nargs="+", type=one_line, default=[], help="names of the sides: one, or two with --against")
    options = parser.parse_args(argv)
    if options.labels and len(options.labels) != (sides := 1 + bool(options.against)):
        raise UsageError(f"--labels takes one name per side: {sides} here, not {len(options.labels)}.")
    if options.table and (options.against or options.metric != SCORE_METRIC):
        raise UsageError(f"--table shows the {SCORE_METRIC} of one side; leave out --against and --metric.")
    if options.target and not options.table:
        raise UsageError("--target counts seeds in the table of --table; for a line alone take --lines.")
    options.by, options.formats = _words(options.by), _words(options.formats)
    if unknown := set(options.formats) - set(FORMATS):
        raise UsageError(f"--formats: '{min(unknown)}' is none; allowed: {', '.join(FORMATS)}.")
    options.panels = _words(options.panels) or [options.metric]
    if len(set(options.panels)) < len(options.panels):
        raise UsageError("--panels names a metric more than once.")
    options.lines = [_line(word, options) for word in _words(options.lines)]
    options.target = [_target(word, options) for word in _words(options.target)]
    return options


def _words(given: Sequence[str]) -> list[str]:
    """Split at commas, which do the same as spaces between arguments."""
    return [word.strip() for argument in given for word in argument.split(",") if word.strip()]


def _line(word: str, options: argparse.Namespace) -> Line:
    scope, _, value = word.rpartition("=")
    *where, name = scope.split(":")
    metrics, exps = [part for part in where if "/" in part], [part for part in where if "/" not in part]
    if not name or len(metrics) > 1 or len(exps) > 1:
        raise UsageError(f"--lines: '{word}' is not of the form [EXP:][METRIC:]NAME=VALUE.")
    metric = "".join(metrics) or options.metric
    if metric not in options.panels:
        raise UsageError(f"--lines: no panel shows '{metric}', where '{word}' belongs; --panels names them.")
    return Line(exp="".join(exps), metric=metric, name=name, value=_finite("--lines", word, value))


def _target(word: str, options: argparse.Namespace) -> Line:
    exp, _, value = word.rpartition("=")
    return Line(exp=exp, metric=options.metric, name="target", value=_finite("--target", word, value))


def _finite(option: str, word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option}: '{text}' in '{word}' must be a number.")
    return value
