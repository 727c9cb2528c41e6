"""The statistics of all groups for other programs: as CSV, and as a table of LaTeX."""

import csv
import io
from collections.abc import Sequence

from modules.plots.statistics import Estimate, estimate, iqm, mean
from pipelines.reporting.comparison import Group
from pipelines.reporting.tables import with_interval

HEADER = ("side", "exp", "variant", "quantity", "n", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high")
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPED = "&%$#_{}"  # by a backslash


def aggregates(groups: Sequence[Group]) -> str:
    """One line for each quantity of a group, as CSV; intervals are of 95 %, empty for a single run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*HEADER, "min", "max"))
    for group in groups:
        for quantity, values in group.samples.items():
            if values.size:
                both = (*estimate(values, mean), *estimate(values, iqm))
                numbers = [repr(float(value)) if value == value else "" for value in both]
                ends = [repr(float(values.min())), repr(float(values.max()))]
                writer.writerow([group.side, group.exp, group.variant, quantity, values.size, *numbers, *ends])
    return text.getvalue()


def latex(groups: Sequence[Group], quantity: str) -> str:
    """A table of means and intervals, one line per exp and one column per variant; needs the package booktabs."""
    columns = list(dict.fromkeys((group.side, group.variant) for group in groups))
    names = [escaped(f"{side}: {variant}" if side else variant) for side, variant in columns]
    lines = [
        f"% {quantity}: mean over the runs [95 % interval, percentile bootstrap]",
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["task", *names]) + r" \\",
        r"\midrule",
    ]
    for exp in dict.fromkeys(group.exp for group in groups):
        here = {(g.side, g.variant): _cell(estimate(g.samples[quantity], mean)) for g in groups if g.exp == exp}
        lines.append(" & ".join([escaped(exp), *(here.get(column, "--") for column in columns)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(found: Estimate) -> str:
    return "--" if found.value != found.value else with_interval(found).replace("-", "$-$")


def escaped(text: str) -> str:
    """Write a text so that LaTeX sets it as it stands."""
    return "".join(SPECIAL.get(sign, f"\\{sign}" if sign in ESCAPED else sign) for sign in text)
