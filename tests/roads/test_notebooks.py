"""The notebooks of docs/notebooks are in step with the API and the pages, small, executed, and run through."""

import ast
import inspect
import json
import re
from pathlib import Path

import gymnasium
import pytest

import pipelines.api
from tests.roads.notebooks import FOLDER, execute, sources
from tests.roads.page import File, steps

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 300_000
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)  # a line for IPython
OF_PAGES = {"own_environment": "your_own_environment", "deploy": "deploy"}


def code(path: Path) -> ast.Module:
    """Parse all cells of code, without the lines that are not Python."""
    return ast.parse("\n".join(MAGIC.sub(r"\1pass", source) for source in sources(path)))


def imported(path: Path) -> list[str]:
    nodes = (node for node in ast.walk(code(path)) if isinstance(node, ast.ImportFrom))
    return [name.name for node in nodes if node.module == "pipelines.api" for name in node.names]


def calls(path: Path) -> list[ast.Call]:
    """List the calls of functions of `pipelines.api`."""
    names = set(imported(path))
    nodes = (node for node in ast.walk(code(path)) if isinstance(node, ast.Call))
    return [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id in names]


def test_there_is_one_for_each_road():
    assert [path.stem for path in NOTEBOOKS] == ["ablation", "deploy", "own_environment"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_names_and_arguments_are_those_of_the_api(path):
    assert imported(path)
    for name in imported(path):
        assert hasattr(pipelines.api, name), name
    for call in calls(path):
        assert isinstance(call.func, ast.Name)
        given = {keyword.arg: None for keyword in call.keywords if keyword.arg}
        inspect.signature(getattr(pipelines.api, call.func.id)).bind(*[None] * len(call.args), **given)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_settings_are_sound(path, monkeypatch):
    """The words of each notebook compose; its environment is that of its cell."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    for source in sources(path):
        if "gymnasium.register(" in source:
            exec(compile(source, path.name, "exec"), {})
    found = 0
    constants = {
        node.targets[0].id: node.value
        for node in code(path).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple)
    }
    for call in calls(path):
        if call.func.id in ("compose", "sweep"):  # pyright: ignore[reportAttributeAccessIssue]
            words = [word for node in call.args for word in literal(node, constants)]
            assert words
            jobs = [word.split(",")[0] for word in words]
            pipelines.api.compose(*jobs)
            found += 1
    assert found


def literal(node: ast.expr, constants: dict[str, ast.expr]) -> list[str]:
    """Read an argument: a text, or `*words` with the name of a tuple of texts."""
    if isinstance(node, ast.Starred):
        assert isinstance(node.value, ast.Name)
        return list(ast.literal_eval(constants[node.value.id]))
    return [ast.literal_eval(node)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_small_and_was_executed_in_order(path):
    assert path.stat().st_size < MAX_BYTES
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert "/tmp/" not in path.read_text()


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem in OF_PAGES], ids=lambda path: path.stem)
def test_cells_are_the_files_of_the_page(path):
    cells = [re.sub(r"^%%writefile .*\n", "", source).strip() for source in sources(path)]
    files = [step for step in steps(OF_PAGES[path.stem]) if isinstance(step, File) and step.name != "torques.py"]
    assert files
    for file in files:
        assert file.text.strip() in cells, file.name


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_through(path, tmp_path):
    for name in ("nbclient", "ipykernel", "pandas", *(["onnx", "onnxruntime"] if path.stem == "deploy" else [])):
        pytest.importorskip(name, reason="needs the extras notebook and onnx")
    notebook = execute(path, tmp_path)
    shown = json.dumps(notebook.cells)
    assert "image/png" in shown
    text = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    match path.stem:
        case "own_environment":
            assert float(re.findall(r"greedy: (-?\d\.\d+)", text)[0]) >= 0.99
            assert (tmp_path / "my_run" / "videos").is_dir()
        case "ablation":
            assert (tmp_path / "compared" / "report.csv").is_file()
        case "deploy":
            with_recall, without = re.findall(r"return with(?:out)? Recall: (\d+)", text)
            assert with_recall == without
