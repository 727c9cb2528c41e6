"""Tests that the configuration tree generates: a new YAML file is tested without a new test."""

import dataclasses
import importlib
import json
import pkgutil
import re
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from pydantic import ValidationError

import modules
import pipelines
from modules.replay.storage import MemmapSpec
from modules.spec import Spec, UsageError
from pipelines.config.check import check
from pipelines.config.hints import CONF
from pipelines.config.schema import RunConfig, read
from tests.cases import later, some_later
from tests.pipelines.launch import run

OWN_PACKAGE = ("exp", "debug", "sweep")  # appended with +group=option, over the whole configuration


def tree() -> dict[str, list[str]]:
    """Options of every group, read off the folders."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(CONF).rglob("*.yaml")):
        group = str(path.parent.relative_to(CONF))
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found


@pytest.fixture(autouse=True)
def plenty_of_disk(monkeypatch):
    """Whether a preset fits this machine's disk is not what is tested here."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2**50, used=0, free=2**50))


GROUPS = tree()
EXPS = GROUPS["exp"]
OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
MEMORIES = GROUPS["network/memory"]
SWAPS = [  # each experiment and each memory by default, the rest of the pairs later; a table has none
    (exp, memory) if (i - j) % len(MEMORIES) == 0 else later(exp, memory)
    for i, exp in enumerate(exp for exp in EXPS if exp != "tour_q")
    for j, memory in enumerate(MEMORIES)
]
DISTINCT = (  # experiments that differ in what trains; those on Atari are in test_atari.py
    *("agent57_corridor", "boltzmann_shower", "corridor", "dqn_cartpole", "drqn_cartpole", "drqn_cartpole_tutorial"),
    *("ngu_deep_sea", "qr_dqn_cartpole_masked", "r2d2_memory_len", "r2d2_minigrid_memory", "reinforce_cartpole"),
    *("tour", "tour_q"),
)
BESIDE = {"replay=ray": ["collector=ray", "collector.rows=actor"]}  # what an option is only for
NEEDS = {  # options that need a package which may not be there
    "minigrid": "minigrid",
    "r2d2_minigrid_memory": "minigrid",
    "popgym": "popgym",
    "minatar": "minatar",
    "dqn_minatar": "minatar",
    "r2d2_minatar": "minatar",
    "ray": "ray",
}


def skip_without_its_package(option: str) -> None:
    """Skip what cannot run here."""
    package = NEEDS.get(option.rpartition("=")[2])
    if package and find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install -e '.[{package}]'")


@cache
def read_run(*words: str) -> RunConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return read(compose("config", list(words)))


def specs() -> Iterator[type[Spec]]:
    """Every spec that can be reached from YAML, and those of the entry points."""
    for package in (modules, pipelines):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    waiting = [Spec]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if dataclasses.is_dataclass(kind):
            yield kind


def test_every_group_has_the_options_that_the_issue_names():
    assert set(MEMORIES) >= {"lstm", "gru", "none"}
    assert set(EXPS) >= {"drqn_cartpole", "drqn_cartpole_masked"}
    assert set(GROUPS["logger"]) >= {"none", "csv", "tensorboard", "wandb", "many"}
    assert not {option for _, option in OPTIONS} & {"off", "no", "on", "yes", "true", "false", "null"}  # YAML booleans


def likely(option: str) -> list[str]:
    """All experiments, first those whose own words or whose algorithm's name the option: they take it."""

    def silent(exp: str) -> bool:
        text = Path(CONF, "exp", f"{exp}.yaml").read_text()
        texts = [text, *(Path(CONF, "algo", f"{algo}.yaml").read_text() for algo in re.findall(r"/algo: (\w+)", text))]
        return not any(re.search(rf": {option}\b", words) for words in texts)

    return sorted(EXPS, key=silent)


@pytest.mark.parametrize(
    "exp", [exp for exp in EXPS if "/replay/storage:" in Path(CONF, f"exp/{exp}.yaml").read_text()]
)
def test_rows_may_lie_otherwise_than_a_preset_says(exp):
    assert type(read_run(f"+exp={exp}", "replay/storage=memmap").replay.storage) is MemmapSpec


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{g}={o}" for g, o in OPTIONS])
def test_every_option_reads_and_fits_some_experiment(group, option, tmp_path):
    skip_without_its_package(option)
    word = f"+{group}={option}" if group in OWN_PACKAGE else f"{group}={option}"
    said = []
    for exp in [option] if group == "exp" else likely(option):
        words = [word] if group == "exp" else [f"+exp={exp}", word]
        try:
            check(read_run(*words, *BESIDE.get(word, [])), tmp_path)
            return
        except UsageError as error:
            said.append(f"+exp={exp}: {error}")
    pytest.fail("no experiment takes it: " + "; ".join(said))


@pytest.mark.parametrize("exploration", ["boltzmann", "eps_greedy"])
def test_the_exploration_of_every_value_based_algorithm_is_swapped_by_one_override(exploration):
    for algo in set(GROUPS["algo"]) - {"reinforce"}:
        assert read_run(f"algo={algo}", f"exploration={exploration}").exploration.anneal_frames >= 0, algo


@pytest.mark.parametrize(("exp", "memory"), SWAPS)
def test_the_memory_of_every_experiment_is_swapped_by_one_override(exp, memory, tmp_path):
    skip_without_its_package(exp)
    found = read_run(f"+exp={exp}", f"network/memory={memory}")
    check(found, tmp_path)
    assert memory.rstrip("0123456789") == found.network.memory.name  # lstm512 is an lstm
    assert found.name.startswith(exp)  # so the runs of an experiment are found under its name


@pytest.mark.parametrize("exp", some_later([exp for exp in EXPS if not exp.endswith("_atari")], DISTINCT))
def test_every_experiment_trains_when_made_tiny(exp, tmp_path):
    skip_without_its_package(exp)
    words = ["total_frames=120", "eval_every=0", "eval_episodes=1", "video=false", "hydra.run.dir=run"]
    words += ["meta.evaluator.episodes=1"] * exp.startswith("agent57_")
    words += ["env.height=20", "env.width=20"] * (exp == "drqn_cartpole_tutorial")  # its ConvNet has strides of 1
    smoke = "smoke_on_policy" if read_run(f"+exp={exp}").replay.on_policy else "smoke"
    ended = run("pipelines.train", f"+exp={exp}", f"+debug={smoke}", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [summary["exp"], summary["status"], summary["frames"]] == ["smoke", "finished", 120]
    assert summary["updates"] >= 3


def test_specs_have_no_defaults():
    found = [*specs()]
    assert {kind.__name__ for kind in found} >= {"RunConfig", "NetworkSpec", "SequenceSpec", "LoggerSpec", "Evaluation"}
    for kind in found:
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            assert missing, f"{kind.__name__}.{field.name} has a default; its place is YAML"
            assert field.kw_only, f"{kind.__name__}.{field.name}"


def test_specs_are_frozen_and_refuse_unknown_settings():
    found = read_run(f"+exp={EXPS[0]}")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 1  # type: ignore[misc]
    settings: dict[str, Any] = {"sead": 1} | {
        field.name: getattr(found, field.name) for field in dataclasses.fields(found)
    }  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        RunConfig(**settings)


def test_a_dry_run_builds_nothing_and_leaves_nothing_but_hydras_log(tmp_path):
    words = ("+exp=drqn_cartpole", "logger=many", "dry=true", "replay.capacity=3000", "hydra.run.dir=run")
    ended = run("pipelines.train", *words, cwd=tmp_path, before=forbid_building)
    assert ended.code == 0, ended.err
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"run", "run/train.log"}
    assert "dry run" in ended.out + ended.err


def forbid_building() -> None:
    from pipelines.training import session

    def build(*_: object) -> None:
        raise AssertionError("a dry run builds")

    session.build = build  # type: ignore[assignment]


def test_a_sweep_over_seeds_starts_one_job_per_seed(tmp_path):
    ended = run("pipelines.train", "-m", "+exp=drqn_cartpole_masked", "+sweep=seeds", "dry=true", cwd=tmp_path)
    assert ended.code == 0, ended.err
    jobs = sorted(path.name for path in tmp_path.glob("outputs/drqn_cartpole_masked/*/*") if path.is_dir())
    assert jobs == [f"seed={seed}" for seed in range(5)]


@pytest.mark.parametrize(
    ("words", "envs"),
    [
        (("+exp=dqn_cartpole",), 50),
        (("+exp=r2d2_memory_len",), 64),  # of 500 episodes
        (("+exp=drqn_cartpole",), 16),
        (("+exp=ngu_corridor",), 16),
        (("+exp=dqn_cartpole", "eval_envs=3"), 3),
    ],
)
def test_evaluations_have_as_many_environments_side_by_side_as_are_cheap(words, envs):
    assert read_run(*words).evaluation_envs == envs
