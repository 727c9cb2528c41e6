"""What the config.yaml of a run of unknown origin may have imported as its environment, and from where."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.api import load
from pipelines.config.foreign import foreign
from pipelines.config.plugins import environment_modules, with_plugins
from tests.pipelines.test_foreign_folder import SIGN, change, everything

GYMNASIUM = "import gymnasium\n"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, from which modules are imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("env.wrappers", """${oc.decode:${oc.env:NOPE,"[trap:X]"}}"""),
        ("env.wrappers", """${oc.env:NOPE,"trap:X"}"""),
        ("env.wrappers", ["${oc.env:NOPE,trap}:X"]),
        ("env.id", "${oc.env:NOPE,trap}:Thing-v0"),
        ("env.id", """${oc.decode:${oc.env:NOPE,"'trap:Thing-v0'"}}"""),
        ("plugins", """${oc.decode:${oc.env:NOPE,"[trap]"}}"""),
        ("optim._target_", "${oc.env:NOPE,trap}.Spec"),
        ("network.torso._target_", """${oc.env:NOPE,"trap.Spec"}"""),
    ],
)
def test_a_reference_names_no_module_either(setting, text, finished_run, here, monkeypatch):
    """What it stands for is judged, not how it is written."""
    monkeypatch.delenv("NOPE", raising=False)
    run_dir = shutil.copytree(finished_run, here / "runs" / "run")
    Path("trap.py").write_text("open('EXPLODED', 'w').close()\n")
    change(run_dir, setting, text)
    said = everything(run_dir)
    assert not Path("EXPLODED").exists()
    assert len(said) == 5
    assert len(set(said)) == 1
    assert "asks to import trap," in said[0] or "no spec of this program" in said[0]


def test_a_reference_that_leads_nowhere_is_one_sentence(finished_run, here, monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    run_dir = shutil.copytree(finished_run, here / "run")
    change(run_dir, "env.id", "${oc.env:NOPE}")
    with pytest.raises(UsageError, match=r"config\.yaml: .*Environment variable 'NOPE' not found"):
        load(run_dir)


def test_an_environment_may_be_looked_up(here, monkeypatch):
    monkeypatch.setenv("TASK", "my_sign:Mine-v0")
    Path("my_sign.py").write_text(GYMNASIUM)
    config = {"env": {"id": "${oc.env:TASK}", "wrappers": []}}
    assert with_plugins(config, here / "runs" / "a", ()) == {**config, "plugins": []}
    assert list(environment_modules({"id": 3, "wrappers": None})) == []


@pytest.mark.parametrize("wrappers", ["trap:X", {"a": "trap:X"}, [["trap:X"]], ["trap"]])
def test_wrappers_that_are_no_list_are_looked_at_too(wrappers):
    assert list(environment_modules({"wrappers": wrappers})) == [("env.wrappers", "trap")]


@pytest.mark.parametrize(
    ("file", "module", "run", "may"),
    [
        ("sign.py", "sign", "runs/a", True),  # as docs/your_own_environment.md has it
        ("sign.py", "sign", "outputs/drqn/today_seed0", True),
        ("mine/sign.py", "mine.sign", "runs/a", True),
        ("sign.py", "sign", "../elsewhere/a", True),
        ("sign.py", "sign", "a", False),  # beside the runs of a sweep
        ("sign.py", "sign", ".", False),
        ("mine/sign.py", "mine.sign", "a", False),
        ("runs/a/sign.py", "runs.a.sign", "runs/a", False),
        ("runs/b/sign.py", "runs.b.sign", "runs/a", False),  # two runs, of which one names the other's file
        ("runs/sign.py", "runs.sign", "runs/a", False),
    ],
)
def test_a_module_that_may_have_come_with_the_run_is_refused(file, module, run, may, here):
    path = here / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GYMNASIUM)
    for place in (Path(run), here / run):
        assert (foreign(module, place) == "") == may
    assert may or "came with the run" in foreign(module, here / run) or "lie in" in foreign(module, here / run)


def test_so_is_one_around_the_run_elsewhere(here, monkeypatch):
    """A folder of the path of modules that is not the current one, such as PYTHONPATH has."""
    Path("sweep").mkdir()
    Path("sweep/sign_there.py").write_text(GYMNASIUM)
    monkeypatch.syspath_prepend(here / "sweep")
    assert "lie in" in foreign("sign_there", here / "sweep" / "a" / "run")
    assert foreign("sign_there", here / "other" / "run") == ""


def test_a_link_to_the_run_hides_nothing(here, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    Path("sign.py").write_text(GYMNASIUM)
    Path("run0").symlink_to(away)
    assert "lie in" in foreign("sign", Path("run0"))
    Path("mine").symlink_to(here, target_is_directory=True)
    assert foreign("sign", Path("mine/run1"))


def test_the_module_beside_the_runs_of_a_sweep_is_not_imported(finished_run, here):
    Path("evil_sign.py").write_text(SIGN.format(name="Evil") + "open('EXPLODED', 'w').close()\n")
    change(shutil.copytree(finished_run, here / "run0"), "env.id", "evil_sign:Evil-v0")
    said = everything(Path("run0"))
    assert not Path("EXPLODED").exists()
    assert {f"both lie in {here}" in text and "add plugins=[evil_sign]" in text for text in said} == {True}


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("import gymnasium", True),
        ("import os, gymnasium.spaces as spaces", True),
        ("from gymnasium.envs.registration import register", True),
        ("try:\n    import gymnasium\nexcept ImportError:\n    pass", True),
        ("'''Nothing to do with gymnasium.'''", False),
        ("# import gymnasium", False),
        ("import gymnasium_like", False),
        ("from . import gymnasium", False),
        ("def later():\n    import gymnasium", False),
        ("import gymnasium\nthis is no Python", False),
        ("\0", False),
    ],
)
def test_a_module_must_import_gymnasium_itself(text, may, here):
    Path("candidate.py").write_text(text)
    assert (foreign("candidate", Path("runs/a")) == "") == may


@pytest.mark.parametrize(
    ("module", "may"),
    [
        ("ale_py", True),  # its package imports a part of its own that does
        ("gymnasium.wrappers", True),
        ("gymnasium", True),
        ("tests.pipelines.faulty", True),
        ("nowhere_at_all", True),  # that it is not there will be said where it is looked for
        ("wandb", False),
        ("wandb.sdk", False),
        ("torchrl", False),
        ("torchrl.trainers", False),
        ("torchrl.envs", False),
        ("gymnasium.__main__", False),
        ("antigravity", False),
        ("sys", False),
        ("os.path", False),
        ("a-b", False),
        ("a:b", False),
    ],
)
def test_which_installed_modules_count_as_environments(module, may):
    assert (foreign(module, Path("/nowhere/runs/a")) == "") == may


def test_a_part_that_is_not_there_does_not_have_its_package_imported(here):
    Path("deploy.py").write_text(GYMNASIUM)
    Path("package").mkdir()
    Path("package/__init__.py").write_text(GYMNASIUM)
    assert foreign("deploy.nothing", Path("runs/a"))
    assert foreign("package.nothing", Path("runs/a"))


def test_a_package_may_leave_gymnasium_to_a_part_of_its_own(here):
    for name, text in {"by_dot": "from . import sign", "by_name": "from by_name.sign import Sign", "no": ""}.items():
        Path(name).mkdir()
        Path(name, "__init__.py").write_text(text)
        Path(name, "sign.py").write_text(GYMNASIUM)
    assert [foreign(name, Path("runs/a")) for name in ("by_dot", "by_name")] == ["", ""]
    assert foreign("no", Path("runs/a"))


def test_not_every_module_of_ours_is_an_environments(finished_run, here):
    run_dir = shutil.copytree(finished_run, here / "runs" / "run")
    change(run_dir, "env.id", "modules.loggers.__main__:X-v0")
    with pytest.raises(UsageError, match=r"asks to import modules\.loggers\.__main__, which"):
        load(run_dir)
    assert OmegaConf.load(run_dir / "config.yaml").env.id == "modules.loggers.__main__:X-v0"
