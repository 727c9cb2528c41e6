"""docs/python.md to the letter: its blocks, one after the other, in a folder outside the repository."""

import os
import re
import subprocess
import sys

from tests.pipelines.launch import LIMIT_S, ROOT

PAGE = ROOT / "docs" / "python.md"
COMMANDS = """
import importlib.util, runpy, shlex, sys

def typed(line):
    words = shlex.split(line, comments=True)
    assert words[:2] == ["python", "-m"]
    if "format=onnx" in words and not importlib.util.find_spec("onnx"):
        return  # an extra
    sys.argv = words[2:]
    try:
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        assert not ended.code, line
"""


def script() -> str:
    """Make one script of all blocks; the last line of a block of Python may be something to look at."""
    parts = [COMMANDS]
    for kind, block in re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        parts.append(block if kind == "python" else "".join(f"typed({line!r})\n" for line in block.splitlines()))
    return "\n".join(parts)


def test_the_page_runs_as_it_stands(tmp_path):
    text = script()
    assert len(re.findall(r"^typed\(", text, re.MULTILINE)) == 3
    (tmp_path / "page.py").write_text(text)
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "page.py"]
    done = subprocess.run(
        words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=2 * LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    left = {path.name for path in (tmp_path / "my_run").iterdir()}
    assert left >= {"summary.json", "metrics.csv", "episodes.csv", "episodes.png", "evaluation.json", "policy.pt2"}
    assert {path.name for path in tmp_path.iterdir()} == {"page.py", "my_run", "my_sweep", "my_report"}
