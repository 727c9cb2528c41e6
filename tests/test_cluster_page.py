"""The files of docs/cluster.md are what the tools that they are for read."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from pipelines.config.check import refuse_misfits
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read

PAGE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text()
TRAINS = re.findall(r"pipelines\.(?:train|estimate) ([^\n'#]+)", PAGE)


def files(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_the_launchers_file_is_one_that_ray_takes():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(files("yaml")[0]))
    validate_config(config)
    assert "--autoscaling-config" in " ".join(config["head_start_ray_commands"])  # else it starts no other machine


def test_the_job_of_kubernetes_is_yaml():
    job = yaml.safe_load(files("yaml")[1])
    assert job["kind"] == "RayJob"
    containers = [g["template"]["spec"]["containers"][0] for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    assert {container["image"] for container in containers} == {"me/recall"}


@pytest.mark.parametrize("words", TRAINS)
def test_commands_name_settings_that_there_are_and_that_fit(words):
    """`…` stands for the words of a run."""
    if "ray" in words:
        pytest.importorskip("ray")
    given = [word for word in shlex.split(words) if word not in ("…", "\\")]
    preset = [] if any(word.startswith("+exp=") for word in given) else ["+exp=agent57_corridor"]
    run = read(compose_settings([*preset, *given])[0])
    refuse_misfits(run)
    assert run.collector.on_cluster == any(word == "collector=ray" for word in given)


def test_there_are_such_commands():
    assert len(TRAINS) >= 6
