"""A page of docs/ as its reader takes it, step by step in a folder: `python -m tests.roads.page deploy FOLDER`."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.pipelines.launch import ROOT, Ended, command, run

BLOCK = re.compile(r"(?:Save it as `([\w.]+)`:\n\n)?^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRAIN = "pipelines.train"
SMALL = "+debug=smoke"
ONNX = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class File:
    """What the reader saves."""

    name: str
    text: str


@dataclass(frozen=True)
class Line:
    """What the reader types."""

    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def steps(page: str) -> list[File | Line]:
    """Read the steps of docs/`page`.md; a block of Python that the page gives no file's name is not one."""
    found: list[File | Line] = []
    for name, kind, text in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text()):
        assert (kind == "python") == bool(name), f"{page}: what does the reader do with {text[:60]!r}?"
        found += [File(name, text)] if name else [Line(line) for line in text.splitlines() if line]
    return found


def needs_extra(line: Line) -> bool:
    """Tell whether a line needs ONNX, and that is not installed."""
    wants = "format=onnx" in line.words or line.words[1:] == ["play.py"]
    return wants and any(importlib.util.find_spec(name) is None for name in ONNX)


def type_in(line: Line, place: Path, *, small: bool) -> Ended:
    """Run a line as a shell does; if `small`, training is short and starts from a process that has imported it."""
    python, *words = line.words
    assert python == "python", line
    if words[0] != "-m":
        env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([sys.executable, *words], cwd=place, env=env, capture_output=True, text=True, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)
    module, *words = words[1:]
    words += [SMALL] if small and module == TRAIN else []
    if small and "dry=true" not in words:  # one of them as a shell runs it
        return run(module, *words, cwd=place, before=in_this_folder)
    return command(module, *words, cwd=place)


def in_this_folder() -> None:
    """Look for modules in the current folder first, as `python -m` does."""
    sys.path.insert(0, os.getcwd())


def walk(page: str, place: Path, *, small: bool = False) -> dict[str, Ended]:
    """Take all steps of a page in the folder `place`; return how each line ended."""
    ended = {}
    for step in steps(page):
        if isinstance(step, File):
            (place / step.name).write_text(step.text)
        elif not needs_extra(step):
            ended[step.text] = type_in(step, place, small=small)
    return ended


if __name__ == "__main__":
    for line, how in walk(sys.argv[1], Path(sys.argv[2])).items():
        sys.stdout.write(f"$ {line}\n{how.out}{how.err if how.code else ''}exit code {how.code}\n\n")
