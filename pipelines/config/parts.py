"""How the nodes of a configuration become specs."""

from collections.abc import Sequence
from pydoc import ErrorDuringImport, locate
from typing import Any

from pydantic import ValidationError

from modules.spec import Spec, sentences
from pipelines.config.plugins import refused_target


def make(node: Any, path: str, problems: list[str], plugins: Sequence[str]) -> Any:
    """Build the spec that `node` describes, children first; append to `problems` instead of raising.

    Only parts of ours and those in `plugins` are imported.
    """
    if isinstance(node, list):
        return [make(item, f"{path}[{i}]", problems, plugins) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    found = len(problems)
    values = {key: make(value, f"{path}.{key}".lstrip("."), problems, plugins) for key, value in node.items()}
    if "_target_" not in values or len(problems) > found:
        return values
    target = str(values.pop("_target_"))
    where = f"{path}." if path else ""
    if refused := refused_target(target, plugins):
        problems.append(f"{where}_target_: {refused}")
        return values
    try:
        kind = locate(target)
    except ErrorDuringImport as error:
        problems.append(f"{where}_target_: {' '.join(str(error).split())}")
        return values
    if not (isinstance(kind, type) and issubclass(kind, Spec)):
        problems.append(f"{where}_target_: {target!r} is no spec of this program; take an option of the group")
        return values
    try:
        return kind(**values)
    except ValidationError as error:
        problems += [where + text for text in sentences(error, kind)]
        return values
