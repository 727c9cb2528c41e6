"""What a run measures: each part declares its numbers, and the tables have a column for every one."""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from difflib import get_close_matches
from typing import Any

SCORE = "eval/return_mean"  # mean return of a greedy evaluation: what a run is judged by
GROUPS = ("train", "loss", "intrinsic", "meta", "replay", "eval", "perf")  # as the tables have them; others follow


@dataclass(frozen=True)
class Metric:
    """One measured number; what depends on the clock is `timing` and stands in timing.csv instead of metrics.csv."""

    name: str
    unit: str
    meaning: str
    _: KW_ONLY
    timing: bool = False


class UndeclaredMetricError(LookupError):
    """A part measured what it does not declare; without a declaration there is no column."""


def refuse_undeclared(sender: str, measures: Mapping[str, Any], declared: Collection[str]) -> None:
    """Raise `UndeclaredMetricError` if `sender` measured what is not `declared`: a typo must not lose a curve."""
    if unknown := [name for name in measures if name not in declared]:
        near = get_close_matches(unknown[0], declared, 1)
        hint = f"did you mean {near[0]}? If not, " if near else ""
        raise UndeclaredMetricError(
            f"{sender} measured {', '.join(unknown)}, which no part of this run declares: {hint}add it to the "
            "`metrics` of its spec, or of its class if it was given from Python"
        )


class Means:
    """Sums measures up and gives their means; a checkpoint between two log events loses nothing."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, measures: Mapping[str, Any], count: int = 1) -> None:
        """Take in measures that are each the sum of `count`."""
        for name, value in measures.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
            self._counts[name] = self._counts.get(name, 0) + count

    def take(self) -> dict[str, float]:
        """Means since the last call."""
        found = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def place(name: str) -> int:
    """Of a metric's group among the columns."""
    group = name.partition("/")[0]
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)
