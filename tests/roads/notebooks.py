"""The notebooks of docs/notebooks: `python -m tests.roads.notebooks [NAME …]` executes them and keeps their outputs."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.pipelines.launch import ROOT

FOLDER = ROOT / "docs" / "notebooks"
LIMIT_S = 1800  # for one cell, on a busy machine
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
HOME = "/home/me"  # stands in outputs for the folder in which a notebook was executed


def sources(path: Path) -> list[str]:
    """Read the cells of code."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def execute(path: Path, place: Path) -> Any:
    """Run all cells in the folder `place`; returns the notebook with what they showed.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "80"}
    client = NotebookClient(
        notebook, timeout=LIMIT_S, resources={"metadata": {"path": str(place)}}, coalesce_streams=True
    )
    client.execute(env=env)
    return notebook


def main(names: list[str]) -> None:
    """Execute notebooks and write them back, without times and the name of the temporary folder."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as place:
            notebook = execute(path, Path(place))
            text = nbformat.writes(notebook).replace(str(Path(place).resolve()), HOME)
        notebook = nbformat.reads(text, as_version=4)
        notebook.metadata = METADATA
        for cell in notebook.cells:
            cell.metadata = {}
        nbformat.write(notebook, path)
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
