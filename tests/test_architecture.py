"""The rules of the tree, read off the source: who may import what, how long things are, what is not allowed at all."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = {"spec", "keys", "replay.cut_rows", "files", "schedule", "seeding", "losses.ops", "optim", "process"}
LEAVES |= {
    "errors",
    "stateful",
    "envs.episode_tracker",
    "metrics",
    "previous_step",
    "moments",
    "losses.allowed",
    "torchrl_internals",
}
FOLDERS = {path.name for path in (ROOT / "modules").iterdir() if (path / "__init__.py").exists()}
ABOVE = "callbacks"  # look at all other parts, and none of them at a callback
EXCEPTION = ("intrinsic", "networks.torsos")  # random network distillation needs a torso
MAX_FILE, MAX_FUNCTION = 300, 60  # lines
CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
CONTAINER_CALLS = {"list", "dict", "set", "defaultdict", "OrderedDict", "Counter", "deque", "bytearray"}
MUTATORS = {"append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault", "add", "discard"}
MUTATORS |= {"sort", "reverse", "appendleft", "popleft", "subtract", "difference_update", "intersection_update"}


@dataclass(frozen=True)
class Source:
    """One file: its dotted name and its syntax tree."""

    path: Path

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @cached_property
    def imports(self) -> set[str]:
        """Dotted names of everything imported, at the top or inside functions; files of ours as file names."""
        return {name for node in ast.walk(self.tree) for name in self.names(node)}

    @staticmethod
    def names(node: ast.AST) -> set[str]:
        """What one statement imports."""
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        if not isinstance(node, ast.ImportFrom):
            return set()
        assert node.level == 0, "a relative import; write the whole name"
        return {whole if is_file(whole := f"{node.module}.{a.name}") else str(node.module) for a in node.names}

    @property
    def ours(self) -> set[str]:
        """What is imported from modules/, without that prefix."""
        return {name.removeprefix("modules.") for name in self.imports if name.startswith("modules.")}

    @property
    def package(self) -> str:
        """Folder inside modules/, or nothing for a file directly in it."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else ""


def is_file(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


MODULES = [Source(path) for path in sorted((ROOT / "modules").rglob("*.py"))]
PIPELINES = [Source(path) for path in sorted((ROOT / "pipelines").rglob("*.py"))]
TESTS = [Source(path) for path in sorted((ROOT / "tests").rglob("*.py"))]
BENCHMARKS = [Source(path) for path in sorted((ROOT / "benchmarks").rglob("*.py"))]
CODE = [*MODULES, *PIPELINES, *BENCHMARKS]


def each(sources: list[Source]):
    return pytest.mark.parametrize("source", sources, ids=[source.name for source in sources])


def top(source: Source) -> set[str]:
    return {name.split(".")[0] for name in source.imports}


def test_the_rules_look_at_the_code():
    assert len(MODULES) > 30
    assert {"envs", "networks", "replay", "losses", "loggers"} <= FOLDERS
    assert {source.name for source in CODE} >= {"modules.losses.ops", "pipelines.train"}


@each(MODULES)
def test_modules_know_neither_pipelines_nor_hydra(source):
    of_types = {"pipelines"} if source.name == "modules.spec" else set()  # the type of what `needs` is given
    assert not top(source) & ({"pipelines", "tests", "conf", "hydra", "omegaconf"} - of_types)
    assert "wandb" not in top(source) or source.name == "modules.loggers.wandb"


@each(PIPELINES)
def test_pipelines_know_neither_wandb_nor_tests(source):
    assert not top(source) & {"tests", "wandb"}


@each([*MODULES, *PIPELINES])
def test_nothing_needs_the_benchmarks(source):
    assert "benchmarks" not in top(source)


def test_the_tree_has_no_crowded_folder():
    folders = {source.path.parent for source in CODE}
    crowded = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in crowded.items() if count > 17} == {}


@each([s for s in MODULES if s.name.startswith("modules.envs.worlds")])
def test_no_world_imports_its_picture(source):
    at_the_top = {name for node in source.tree.body for name in Source.names(node)}
    assert not {name for name in at_the_top if name.startswith("modules.envs.rendering")}


@each([source for source in MODULES if source.name.removeprefix("modules.") in LEAVES])
def test_leaves_import_leaves_only(source):
    assert source.ours <= LEAVES


@each([source for source in MODULES if source.package not in ("", ABOVE) and source.name != "modules.losses.ops"])
def test_folders_import_leaves_and_themselves_only(source):
    foreign = {name for name in source.ours - LEAVES if name.split(".")[0] != source.package}
    assert foreign <= ({EXCEPTION[1]} if source.package == EXCEPTION[0] else set())


@each([s for s in MODULES if not s.package and s.name != "modules" and s.name.removeprefix("modules.") not in LEAVES])
def test_files_beside_the_folders_import_leaves_only(source):
    assert source.ours <= LEAVES


@each([*CODE, *TESTS])
def test_files_are_short(source):
    assert len(source.path.read_text().splitlines()) <= MAX_FILE


@each(CODE)
def test_functions_are_short_and_do_not_print(source):
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}"


def containers(tree: ast.Module) -> set[str]:
    """Names at the top of a file that are bound to something mutable."""
    found = set()
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        call = value.func if isinstance(value, ast.Call) else None
        called = call.id if isinstance(call, ast.Name) else call.attr if isinstance(call, ast.Attribute) else ""
        if isinstance(value, CONTAINERS) or called in CONTAINER_CALLS:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]  # type: ignore[union-attr]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def changed(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names of containers that are written to, or rebound from inside a function, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from ((name, node.lineno) for name in node.names)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield last_name(node.value), node.lineno
        if isinstance(node, ast.AugAssign):
            yield last_name(node.target), node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            yield last_name(node.func.value), node.lineno


@each(CODE)
def test_globals_stay_as_they_are(source):
    written = [*changed(source.tree)]
    shared = {name for other in CODE for name in containers(other.tree) if name in {w for w, _ in written}}
    assert not [(name, line) for name, line in written if name in shared]
    assert not [node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.Global)]


def test_globals_that_change_are_found():
    tree = ast.parse("A = {}\nB: list = []\ndef f():\n    A['x'] = 1\n    B.append(2)")
    assert containers(tree) == {"A", "B"}
    assert set(changed(tree)) == {("A", 4), ("B", 5)}


@each(CODE)
def test_specs_take_no_open_ended_arguments(source):
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and {
            last_name(e).lower()[-4:] for e in [*node.bases, *node.decorator_list]
        } & {"spec"}:
            for method in (item for item in node.body if isinstance(item, ast.FunctionDef)):
                assert method.args.kwarg is None, f"{node.name}.{method.name} takes **{method.args.kwarg.arg}"
                assert method.args.vararg is None, f"{node.name}.{method.name} takes *{method.args.vararg.arg}"
