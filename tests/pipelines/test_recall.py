"""All commands as one: `recall train …`."""

import os
import subprocess
import sys
import tomllib

import pytest

from pipelines.__main__ import COMMANDS, main
from tests.pipelines.launch import ROOT, run


def test_every_entry_point_is_a_command(capsys):
    documented = {path.stem for path in (ROOT / "pipelines").glob("*.py") if path.stem in COMMANDS}
    assert documented == set(COMMANDS)
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in COMMANDS)


def test_the_script_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"recall": "pipelines.__main__:main"}
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_an_unknown_command_is_one_sentence(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("error: trian: no such command; there are train, resume, ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("train", "+exp=drqn_cartpole_masked", "dry=true", "hydra.run.dir=run"), 0, "the configuration is sound"),
        (("train", "+exp=drqn_cartpole_masked", "optim.lr=0"), 2, "error: optim.lr: it should be greater than 0"),
        (("evaluate", "run=nowhere"), 2, "error: nowhere: no run is there"),
    ],
)
def test_it_is_the_command_itself(words, code, said, tmp_path):
    ended = run("pipelines.__main__", *words, cwd=tmp_path)
    assert ended.code == code
    assert said in ended.out + ended.err


def test_modules_of_ones_own_are_told_from_ours(tmp_path):
    """The script does not look in the current folder before it is asked what to do."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "__init__.py").touch()
    words = ["-P", "-c", "from pipelines.__main__ import main; raise SystemExit(main(['train', 'dry=true']))"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {tmp_path / 'modules'} hides Recall's own package `modules`: rename it")
    assert ended.stderr.count("\n") == 1
