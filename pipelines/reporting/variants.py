"""Which runs are of one kind: those that agree in the settings asked for, or that differ in no setting that matters."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.plots.runs import RunRecord
from modules.spec import UsageError
from pipelines.config.plugins import read_yaml, values_of

# What may differ between runs of one kind: the seed, where they ran, and what they leave behind.
INCIDENTAL = ("name", "seed", "device", "threads", "logger", "log_every", "keep_checkpoints", "video", "dry", "resume")
# What makes no other kind by itself, but is said: for how long runs train, and how they are measured.
MEASURING = ("total_frames", "save_every", "stop_at_", "eval_")
MISSING = "–"  # in the place of a setting that one of the runs does not have
KIND = "_target_"


def settings(run_dir: Path) -> dict[str, Any] | None:
    """Read a run's configuration without what is incidental; None if it has none.

    Raises:
        UsageError: if it is there and cannot be read.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        return None
    try:
        content = values_of(read_yaml(path))
    except UsageError as error:
        raise UsageError(f"cannot read '{path}': {str(error).removeprefix(f'{path}: ')}.") from error
    return {str(name): value for name, value in content.items() if name not in INCIDENTAL}


def differing(nodes: Sequence[Any], path: str = "") -> list[str]:
    """Name the settings in which configurations differ, dotted.

    Of parts of different kinds (`_target_`) only what all of them have is compared.
    """
    if not all(isinstance(node, dict) for node in nodes):
        return [] if all(node == nodes[0] for node in nodes) else [path]
    names = dict.fromkeys(name for node in nodes for name in node)
    if any(node.get(KIND) != nodes[0].get(KIND) for node in nodes):
        names = [name for name in names if all(name in node for node in nodes)]
    return [
        found
        for name in names
        for found in differing([node.get(name, MISSING) for node in nodes], f"{path}.{name}".lstrip("."))
    ]


def variants(runs: Sequence[RunRecord], by: Sequence[str]) -> list[str]:
    """Name the variant of each run of one exp: what it has of the settings `by`.

    Without any it is the memory, and whatever runs of that memory differ in, but for `INCIDENTAL` and `MEASURING`.

    Raises:
        UsageError: no run has a setting of that name.
    """
    known = {run.path: settings(run.path) or {} for run in runs}
    if by:
        told = [_told([_with_names(run, known[run.path]) for run in runs], key) for key in by]
        return [", ".join(parts) for parts in zip(*told, strict=True)]
    found: dict[Path, str] = {}
    for memory in dict.fromkeys(run.memory for run in runs):
        same = [run.path for run in runs if run.memory == memory]
        nodes = [known[path] for path in same]
        with_configuration = [node for node in nodes if node]
        keys = [key for key in differing(with_configuration) if not key.startswith(MEASURING)]
        keys = [key for key in keys if all(value_at(node, key) != MISSING for node in with_configuration)]
        told = [_told(nodes, key) for key in keys]
        found |= {path: ", ".join([memory, *(part[i] for part in told)]) for i, path in enumerate(same)}
    return [found[run.path] for run in runs]


def _with_names(run: RunRecord, known: Mapping[str, Any]) -> dict[str, Any]:
    return {**known, "exp": run.exp, "memory": run.memory, "seed": run.seed}


def value_at(node: Any, key: str) -> Any:
    """The value of a dotted setting; `MISSING` if there is none."""
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return MISSING
        node = node[name]
    return node


def _told(nodes: Sequence[Any], key: str) -> list[str]:
    """Say what each configuration has of one setting, or of a part in the settings in which they differ."""
    values = [value_at(node, key) for node in nodes]
    if all(value == MISSING for value in values):
        near = difflib.get_close_matches(key, sorted({name for node in nodes for name in _names(node)}), n=3)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UsageError(f"--by: no run has a setting '{key}'{hint}.")
    if any(isinstance(value, dict) for value in values):
        parts = [value if isinstance(value, dict) else {KIND: value} for value in values]
        keys = differing(parts, key) or [f"{key}.{KIND}"]
    else:
        keys = [key]
    return [", ".join(f"{name.removesuffix(f'.{KIND}')}={_text(node, name)}" for name in keys) for node in nodes]


def _text(node: Any, key: str) -> str:
    """What a configuration has of a setting, in a word; of a class its name."""
    value = value_at(node, key)
    if value == MISSING and key.endswith(KIND):
        value = value_at(node, key.removesuffix(f".{KIND}"))
    return str(value).rpartition(".")[2] if key.endswith(KIND) else str(value)


def _names(node: Any, path: str = "") -> list[str]:
    """All settings of a configuration, dotted, and the parts that have them."""
    if not isinstance(node, dict):
        return [path]
    beneath = [found for name, value in node.items() for found in _names(value, f"{path}.{name}".lstrip("."))]
    return [*beneath, path] if path else beneath
