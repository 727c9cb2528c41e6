"""What the pages say of the code is there: files, and classes, functions and their members."""

import ast
import builtins
import re
from collections import defaultdict
from pathlib import Path

import gymnasium
import pytest

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("bad_input.md", "settings.md", "metrics.md")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in GENERATED]
PAGES = [page for page in PAGES if "results" not in page.parts]
FILE = re.compile(r"(?<![\w/])(?:modules|pipelines|conf|docs|tests)/[\w./-]*\.(?:py|yaml|md)")
NAME = re.compile(r"(?:ops\.)?(?:_?[A-Za-z]\w*)(?:\.\w+)*")
OTHERS = {*dir(builtins), *dir(gymnasium.spaces)} | {  # of other programs
    "NormalizeObservation", "NormalizeReward", "RecordVideo",
    "LossModule", "TimeLimit", "SoftUpdate", "DQNLoss", "ImgObsWrapper", "BoltzmannQPolicy", "DQNAgent",
    "LazyMemmapStorage", "InitTracker", "TensorDictSequential", "QValueModule", "GymEnv", "Collector",
}  # fmt: skip


def members(node: ast.ClassDef) -> set[str]:
    """Names of methods and attributes of a class."""
    found = set()
    for inner in ast.walk(node):
        match inner:
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
            case ast.AnnAssign(target=ast.Attribute(attr=name)) | ast.Assign(targets=[ast.Attribute(attr=name)]):
                found.add(name)
    return found


def definitions() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Names that each file defines, and the members of each class, those of its bases included."""
    by_file, classes, bases = defaultdict(set), defaultdict(set), defaultdict(set)
    for path in [*(ROOT / "modules").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.ClassDef(name=name):
                    classes[name] |= members(node)
                    bases[name] |= {base.id for base in node.bases if isinstance(base, ast.Name)}
                case ast.FunctionDef(name=name):
                    pass
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    pass
                case _:
                    continue
            by_file[str(path.relative_to(ROOT))].add(name)
    for _ in range(4):  # as deep as inheritance goes
        for name, above in bases.items():
            for base in above:
                classes[name] |= classes.get(base, set())
    return dict(by_file), dict(classes)


BY_FILE, CLASSES = definitions()
EVERYWHERE = set().union(*BY_FILE.values())


def missing(text: str) -> list[str]:
    """What a page names that is not there."""
    files = [name for name in FILE.findall(text) if "NAME" not in name]
    wrong = [name for name in files if not (ROOT / name).exists() and not (ROOT / "tests" / name).exists()]
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        after_file = ""
        for span in re.findall(r"`([^`]+)`", line):
            if FILE.fullmatch(span):
                after_file = span
                continue
            if not NAME.fullmatch(span):
                continue
            first, *inner = span.removeprefix("ops.").split(".")
            is_class = re.fullmatch(r"_?[A-Z][a-z]+[A-Z]\w*", first) or first in CLASSES
            if first in CLASSES and inner:
                wrong += [span] * (inner[0] not in CLASSES[first])
            elif span.startswith("ops."):
                wrong += [span] * (first not in BY_FILE["modules/losses/ops.py"])
            elif is_class:
                wrong += [span] * (first not in EVERYWHERE and first not in OTHERS)
            elif after_file.endswith(".py") and f"`{after_file}` · `{span}`" in line:
                wrong += [f"{after_file} · {span}"] * (first not in BY_FILE[after_file])
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_what_a_page_names_exists(page):
    assert not missing(page.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "see `modules/losses/nowhere.py`",
        "`modules/losses/ops.py` · `no_such_function`",
        "`EpisodicMemory._reward` adds",
        "`ops.no_such_function`",
        "a `NoveltyBonusOfOld` makes it",
    ],
)
def test_what_is_not_there_is_found(line):
    assert missing(line)


def test_what_is_there_is_not():
    assert not missing(
        "`modules/losses/ops.py` · `n_step_return`, `modules/losses/q.py` · `ValueLoss.unroll`, `LstmSpec`"
    )


LOSSES = {"reinforce": ["reinforce"], "ngu": ["q", "retrace"], "agent57": ["q", "retrace"], "qr_dqn": ["q", "quantile"],
          "pqn": ["q", "q_lambda"]}  # fmt: skip


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "algorithms").glob("*.md")), ids=lambda page: page.stem)
def test_the_loss_in_reading_order_is_that_of_the_code(page):
    """Every function that the page's block calls is there, and the methods come in the order of the file."""
    (block,) = re.findall(r"## The loss in reading order\n.*?```python\n(.*?)```", page.read_text(), re.DOTALL)
    called = re.findall(r"(?:^|= )(\w+)\(", block, re.MULTILINE)
    assert len(called) >= 7
    files = [f"modules/losses/{name}.py" for name in LOSSES.get(page.stem, ["q"])]
    known = set().union(*(BY_FILE[file] for file in [*files, "modules/losses/ops.py", "modules/losses/padding.py"]))
    tree = ast.parse((ROOT / files[0]).read_text())
    methods = [node.name for kind in tree.body if isinstance(kind, ast.ClassDef) for node in kind.body
               if isinstance(node, ast.FunctionDef)]  # fmt: skip
    assert set(called) - known - set(methods) - {"unroll"} == set()
    first = [name for name in dict.fromkeys(called) if name in methods and name != "raw"]
    assert first == sorted(first, key=methods.index)
