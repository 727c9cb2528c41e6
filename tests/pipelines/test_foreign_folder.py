"""A run folder of unknown origin: nothing in it is executed, and nothing in it names what is imported."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from modules import checkpoint
from modules.files import write_text
from modules.spec import UsageError
from pipelines import resume
from pipelines.api import compose, evaluate, load, train
from pipelines.config.foreign import foreign
from pipelines.config.plugins import MAX_NODES, read_yaml, refuse_lookups, values_of
from pipelines.export import DEFAULTS, Export, export
from pipelines.training.session import config_of
from tests.pipelines.bad_input import Bomb
from tests.pipelines.saved_runs import MASKED

TINY = (MASKED, "+debug=smoke", "video=false", "total_frames=100", "threads=1")
SIGN = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

gymnasium.register("{name}-v0", CartPoleEnv, max_episode_steps=20)
"""
PART = """
from modules.optim import AdamSpec
from modules.spec import spec


@spec
class Mine(AdamSpec):
    pass
"""


@pytest.fixture
def run_dir(finished_run, tmp_path, monkeypatch) -> Path:
    """A copy of it in the current folder, whose files may be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return shutil.copytree(finished_run, tmp_path / "run")


def go_on(run_dir: Path, plugins: tuple[str, ...] = ()) -> None:
    resume.resume(resume.Resume(run=run_dir, changes={"total_frames": 120}, plugins=plugins), bar=False)


def everything(run_dir: Path, plugins: tuple[str, ...] = (), *, exporting: bool = True) -> list[str]:
    """Do all that reads a run folder, except for an export where that takes too long; return what is said to it."""
    said = []
    for act in (
        lambda: load(run_dir, plugins=plugins),
        lambda: load(run_dir, "last", plugins=plugins),
        lambda: evaluate(run_dir, episodes=1, plugins=plugins),
        lambda: exporting and export(Export(**{**DEFAULTS, "run": run_dir, "plugins": plugins})),
        lambda: go_on(run_dir, plugins),
    ):
        try:
            act()
        except UsageError as error:
            said.append(str(error))
    return said


def change(run_dir: Path, name: str, value: object) -> None:
    config = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(config, name, value)
    OmegaConf.save(config, run_dir / "config.yaml")


def bomb_in_replay(run_dir: Path) -> None:
    """What TensorDict's own reader of such folders follows to a pickle."""
    meta = '{"_type": "<class \'tensordict.tensorclass.NonTensorData\'>", "shape": [], "_is_non_tensor": true}'
    for folder in (run_dir / "replay", run_dir / "replay" / "reward"):
        folder.mkdir(exist_ok=True)
        (folder / "other.pickle").write_bytes(pickle.dumps(Bomb()))
        (folder / "meta.json").write_text(meta)


def bomb_beside_the_rows(run_dir: Path) -> None:
    """The same, with the rows and their meta.json as they were."""
    meta = (run_dir / "replay" / "meta.json").read_text()
    bomb_in_replay(run_dir)
    (run_dir / "replay" / "meta.json").write_text(meta)


def bomb_as_checkpoints(run_dir: Path) -> None:
    for path in (run_dir / "checkpoints").glob("*.pt"):
        torch.save({"format": checkpoint.FORMAT, "version": checkpoint.VERSION, "frames": Bomb()}, path)


def bomb_as_old_checkpoints(run_dir: Path) -> None:
    for path in (run_dir / "checkpoints").glob("*.pt"):
        path.write_bytes(pickle.dumps(Bomb(), protocol=2))


def bomb_in_yaml(run_dir: Path) -> None:
    with (run_dir / "config.yaml").open("a") as file:
        file.write("extra: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [EXPLODED]]\n")


def bombs_as_exports(run_dir: Path) -> None:
    for name in (
        "policy.pt2",
        "policy.onnx",
        "statistics.pt",
        "episodes.csv",
        "evaluation.json",
        "replay/reward.pickle",
    ):
        (run_dir / name).write_bytes(pickle.dumps(Bomb()))


def bombs_of_loggers(run_dir: Path) -> None:
    for name in ("wandb/settings", "wandb/latest-run/run.wandb", "tensorboard/events.out.tfevents.1", "trackio/run.db"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_bytes(pickle.dumps(Bomb()))


BOMBS = (bomb_in_replay, bomb_beside_the_rows, bomb_as_checkpoints, bomb_as_old_checkpoints)
BOMBS += (bomb_in_yaml, bombs_as_exports, bombs_of_loggers)


@pytest.mark.parametrize("bomb", BOMBS)
def test_nothing_in_a_run_folder_is_executed(bomb, run_dir):
    bomb(run_dir)
    everything(run_dir, exporting=bomb is bombs_as_exports)
    assert not list(run_dir.parent.rglob("EXPLODED"))


def test_the_bombs_are_as_dangerous_as_they_should_be(run_dir):
    bomb_as_old_checkpoints(run_dir)
    pickle.loads((run_dir / "checkpoints" / "best.pt").read_bytes())
    assert Path("EXPLODED").exists()


def test_a_file_is_not_written_through_a_link_of_its_unfinished_name(tmp_path):
    """A folder with `config.part -> ~/.bashrc` would have its own config.yaml written there."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "config.part").symlink_to(tmp_path / "mine")
    write_text(tmp_path / "config.yaml", "theirs")
    assert [(tmp_path / name).read_text() for name in ("mine", "config.yaml")] == ["mine", "theirs"]


@pytest.mark.parametrize(
    ("setting", "target"),
    [
        ("optim._target_", "trap.Spec"),
        ("network.torso._target_", "trap"),
        ("_target_", "trap.sub.Spec"),
        ("loss._target_", "modules.loggers.__main__.Spec"),
        ("env.wrappers", ["trap:Wrapper"]),
        ("env.id", "trap:Thing-v0"),
        ("env.id", "antigravity:Thing-v0"),
        ("plugins", ["trap"]),
        ("plugins", "trap"),
    ],
)
def test_a_runs_own_file_names_no_module_to_import(setting, target, run_dir):
    trap = Path("trap.py")
    trap.write_text("open('EXPLODED', 'w').close()\n")
    change(run_dir, setting, target)
    said = everything(run_dir)
    assert len(said) == 5
    assert len(set(said)) == 1
    assert "\n" not in said[0]
    assert "plugins=[" in said[0] or "no spec of this program" in said[0]
    assert not Path("EXPLODED").exists()


def test_a_file_of_the_run_folder_is_not_imported_even_as_an_environment(run_dir):
    (run_dir / "sign_inside.py").write_text(SIGN.format(name="Inside") + "open('EXPLODED', 'w').close()\n")
    change(run_dir, "env.id", "run.sign_inside:Inside-v0")
    assert {"came with the run's folder" in text for text in everything(run_dir)} == {True}
    assert foreign("run.sign_inside", run_dir / "deeper")  # one whose folder is in that of the module
    assert not Path("EXPLODED").exists()


def test_an_environment_of_ones_own_needs_no_word(run_dir):
    Path("sign_mine.py").write_text(SIGN.format(name="Mine"))
    change(run_dir, "env.id", "sign_mine:Mine-v0")
    Path("runs").mkdir()
    assert everything(run_dir.rename("runs/run"), exporting=False) == []


def test_a_part_of_ones_own_is_named_with_each_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_parts.py").write_text(PART)
    words = (*TINY, "optim._target_=my_parts.Mine")
    with pytest.raises(UsageError, match=r"optim._target_: 'my_parts.Mine' is no .*, or plugins=\[my_parts\] if it is"):
        compose(*words)
    train(compose(*words, "plugins=[my_parts]"), run_dir="run", bar=False)
    here = Path("run")
    assert OmegaConf.load(here / "config.yaml").plugins == ["my_parts"]
    said = everything(here)
    assert {r"run: its config.yaml asks to import my_parts, which is not ours" in text for text in said} == {True}
    assert {"add plugins=[my_parts]" in text for text in said} == {True}
    assert everything(here, ("my_parts",), exporting=False) == []
    assert OmegaConf.load(here / "config.yaml").plugins == ["my_parts"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{y}: &{y} [{', '.join(8 * [f'*{x}'])}]\n" for x, y in zip("abcdefghi", "bcdefghij", strict=True)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}\n" for i in range(1, 60)),
        "a: &a [*a]\n",
        "a: " + 5000 * "[" + 5000 * "]",
        "a: " + 2**20 * "b",
    ],
    ids=["lists", "mappings", "in itself", "deep", "large"],
)
def test_what_expands_without_end_is_refused_at_once(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"config.yaml: (its aliases|not readable|larger)") as said:
        read_yaml(path)
    assert "\n" not in str(said.value)


def test_honest_aliases_are_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\n")
    assert values_of(read_yaml(path)) == {"a": [1, 2], "b": [1, 2]}
    path.write_text("a: [" + ", ".join(["1"] * (MAX_NODES - 10)) + "]\n")
    assert len(values_of(read_yaml(path))["a"]) == MAX_NODES - 10


@pytest.mark.parametrize("text", ["${a}${a}", "${seed}", "${oc.create:x}", "x${oc.env:A}${oc.env:${b}}"])
def test_references_that_may_expand_are_refused(text, tmp_path):
    with pytest.raises(UsageError, match=r"config.yaml: env.kwargs.x has a reference"):
        refuse_lookups({"env": {"kwargs": {"x": text}}}, tmp_path / "config.yaml")


def test_what_a_setting_looks_up_is_stored_as_a_reference(monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    monkeypatch.setenv("SEED", "7")
    config = config_of(compose(MASKED, "seed='${oc.decode:${oc.env:SEED}}'").config)
    assert config["seed"] == "${oc.decode:${oc.env:SEED}}"
    cfg = OmegaConf.create({"a": "${oc.env:SECRET}", "b": "${a}/${n}", "c": ["${oc.env:NONE,x}"], "n": 3, "d": "${n}"})
    kept = {"a": "${oc.env:SECRET}", "b": "${oc.env:SECRET}/3", "c": ["${oc.env:NONE,x}"]}
    assert config_of(cfg) == {**kept, "n": 3, "d": 3}
    assert "s3cret" not in str(config_of(cfg))
