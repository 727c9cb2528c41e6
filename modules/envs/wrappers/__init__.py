"""Gymnasium wrappers: the user's, by name, and ours."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium

from modules.errors import told
from modules.spec import UsageError

Adapter = Callable[[gymnasium.Env], gymnasium.Env]
Wrapper = str | Mapping[str, Any]  # module:Class, or that as `name` beside further arguments


def import_wrappers(wrappers: Sequence[Wrapper]) -> tuple[Adapter, ...]:
    """Import Gymnasium wrappers; raises `UsageError` for what is not there or no wrapper."""
    return tuple(map(import_wrapper, wrappers))


def import_wrapper(wrapper: Wrapper) -> Adapter:
    """Import the wrapper that is named as module:Class, and give it its further arguments."""
    further = dict(wrapper) if isinstance(wrapper, Mapping) else {"name": wrapper}
    name = str(further.pop("name", ""))
    module, colon, kind = name.partition(":")
    if not (module and colon and kind):
        raise UsageError(
            f"env.wrappers: {name!r} is not of the form module:Class, such as minigrid.wrappers:ImgObsWrapper; one "
            "with arguments is {name: gymnasium.wrappers:TimeLimit, max_episode_steps: 100}"
        )
    found = getattr(import_or_refuse(module, "env.wrappers"), kind, None)
    if not (isinstance(found, type) and issubclass(found, gymnasium.Wrapper)):
        what = "has no such class" if found is None else "has it, but it is no gymnasium.Wrapper"
        raise UsageError(f"env.wrappers: {name!r} cannot be used, because {module} {what}")
    return partial(found, **further) if further else found


def import_or_refuse(module: str, setting: str) -> Any:
    """Import `module`, which `setting` names, from the current folder or what is installed, or raise `UsageError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"{setting}: there is no module {error.name!r}, neither in the current folder nor among the installed "
                "packages: run the command where the file is, or set PYTHONPATH"
            ) from error
        raise UsageError(f"{setting}: the module {module!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{setting}: the module {module!r} cannot be imported: {told(error)}") from error
