"""A configuration as a dashboard shows it: which parts were chosen, without the code that makes them."""

import sys
from collections.abc import Mapping
from typing import Any, get_type_hints

from modules.spec import Spec

TARGET, KIND = "_target_", "kind"


def without_targets(config: Mapping[str, Any], spec: type) -> dict[str, Any]:
    """Return a `config` of the class `spec` in which `kind` says what each part is, where it could be another.

    The kind is the name of its spec without the ending: `network.memory.kind` is Lstm. Nothing is imported: of a part
    whose module is not there yet, the kind is said in any case.
    """
    hints = get_type_hints(spec)
    return {str(name): shown(value, hints.get(name)) for name, value in config.items() if name != TARGET}


def shown(value: Any, hint: Any) -> Any:
    """Return what stands for one value of a configuration, in a place of the type `hint`."""
    if not isinstance(value, Mapping):
        return value
    if TARGET not in value:
        return without_targets(value, object)
    module, _, name = str(value[TARGET]).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    rest = without_targets(value, found if isinstance(found, type) and issubclass(found, Spec) else object)
    return rest if found is hint and found is not None else {KIND: name.removesuffix("Spec")} | rest
