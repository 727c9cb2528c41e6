"""Whether a module may be imported because a run's folder says so (docs/run_folders.md); none is imported to tell."""

import ast
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


def foreign(module: str, run_dir: Path) -> str:
    """Say why a module should not be imported at the word of a run's folder; "" if it may, or is nowhere."""
    if not re.fullmatch(MODULE, module):
        return "which is no name of a module"
    if is_program(module):
        return "which is a program"
    top, *parts = module.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ValueError, ImportError):
        found = None
    if found is None:
        return ""  # nothing can be imported; the sentence on what cannot be found is the environment's
    for part in parts:  # importing them would import what they are in, even if they are not there
        found = found and PathFinder.find_spec(part, list(found.submodule_search_locations or ()))
    file = Path(os.path.abspath(found.origin)) if found and found.origin and found.has_location else None
    if file is not None and (why := along_with(run_dir, file, parts)):
        return why
    if file is None or not any(below(name, "gymnasium") for name in imports(file, module)):
        return "which has nothing to do with Gymnasium"
    return ""


def is_program(module: str) -> bool:
    """Tell whether importing a module would run it as a program."""
    return "__main__" in module.split(".")[1:]


def below(module: str, name: str) -> bool:
    """Tell whether `module` is `name` or in it."""
    return f"{module}.".startswith(f"{name}.")


def along_with(run_dir: Path, file: Path, parts: Sequence[str]) -> str:
    """Say why the module in `file`, `parts` below the top one, may have come with a run; "" if it can not.

    A file of one's own lies in the folder in which the commands are given, with the runs deeper in it. Beside a run, as
    in the folder of a sweep, or in another folder around it, it may have come with that.
    """
    levels = len(parts) + (file.stem == "__init__")
    root = file.parents[min(levels, len(file.parents) - 1)]  # where the top module lies, on the path of modules
    for where in (os.path.abspath, os.path.realpath):
        here, folder, start = (Path(where(path)) for path in (run_dir, file.parent, root))
        if folder.is_relative_to(here):
            return "which came with the run's folder"
        if here.is_relative_to(start):
            both = Path(os.path.commonpath((here, folder)))
            deeper = both != start and both.is_relative_to(start)
            if deeper or here.parent == start or start != Path(where(os.curdir)):
                return f"which may have come with the run, because both lie in {both if deeper else start}"
    return ""


def imports(file: Path, module: str) -> Iterator[str]:
    """Yield what a source file imports when it is imported; a package also what its parts do that it imports."""
    package = file.stem == "__init__"
    for name in statements(file, module if package else module.rpartition(".")[0]):
        yield name
        if package and below(name, module):
            inner = file.parent.joinpath(*name.split(".")[module.count(".") + 1 :])
            parent = name.rpartition(".")[0]
            yield from statements(inner.with_suffix(".py"), parent)
            yield from statements(inner / "__init__.py", name)


def statements(file: Path, package: str) -> Iterator[str]:
    """Yield the names that a source file in `package` imports outside of its functions; none if it is no source."""
    try:
        nodes: list[ast.AST] = [ast.parse(file.read_bytes())]
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in nodes:  # grows on the way
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            outer = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            start = ".".join([*outer, *([node.module] if node.module else [])])
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
