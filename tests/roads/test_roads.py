"""docs/ablation.md and docs/deploy.md, to the letter: from an empty folder to the result."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from tests.pipelines.launch import ROOT
from tests.roads.page import File, Line, needs_extra, steps, walk

SEEDS = 5


def all_well(ended):
    for line, how in ended.items():
        assert how.code == 0, (line, how)
        assert "Traceback" not in how.err
        assert "Warn" not in how.err


def groups_of(report: Path) -> list[dict[str, str]]:
    with (report / "report.csv").open() as file:
        return list(csv.DictReader(file))


def walked(page: str, place: Path, *, small: bool):
    assert not place.is_relative_to(ROOT)
    assert not [*place.iterdir()]
    ended = walk(page, place, small=small)
    all_well(ended)
    return ended


def check_ablation(place: Path) -> list[dict[str, str]]:
    runs = sorted(path.name for path in (place / "outputs" / "memories").glob("network*"))
    assert runs == [f"network.memory={memory},seed={seed}" for memory in ("lstm", "none") for seed in range(SEEDS)]
    groups = groups_of(place / "outputs" / "report")
    assert len(groups) == 2
    assert (place / "outputs" / "report" / "report.png").is_file()
    return groups


def returns(ended) -> list[float]:
    """What the programs of docs/deploy.md print: the return with and without Recall."""
    texts = [how.out for line, how in ended.items() if shlex.split(line)[1:] in (["act.py"], ["play.py"])]
    return [float(re.fullmatch(r"return with(?:out)? Recall: (\d+\.0)\n", text)[1]) for text in texts]


@pytest.mark.slow
def test_ablation_with_five_seeds(tmp_path):
    walked("ablation", tmp_path, small=True)
    check_ablation(tmp_path)


def test_deployment(tmp_path):
    ended = walked("deploy", tmp_path, small=True)
    assert json.loads((tmp_path / "my_run" / "evaluation.json").read_text())["episodes"] == 100
    assert (tmp_path / "my_run" / "policy.pt2").is_file()
    found = returns(ended)
    assert len(found) == 2 - needs_extra(Line("python play.py"))
    assert len(set(found)) == 1  # the same actions


def test_pages_have_what_they_promise():
    files = {step.name for step in steps("deploy") if isinstance(step, File)}
    assert files == {"act.py", "consumer.py", "play.py"}
    lines = [step.text for step in steps("ablation") if isinstance(step, Line)]
    assert len(lines) == 6


@pytest.mark.slow
def test_the_ablation_shows_what_memory_is_for(tmp_path):
    """Ten runs and four single ones, twenty minutes."""
    walked("ablation", tmp_path, small=False)
    lstm, none = sorted(check_ablation(tmp_path), key=lambda group: -float(group["mean"]))
    assert "lstm" in str(lstm).lower()
    assert float(lstm["mean"]) > 475
    assert float(none["mean"]) < 60


@pytest.mark.slow
def test_what_is_deployed_has_learned(tmp_path):
    ended = walked("deploy", tmp_path, small=False)
    assert json.loads((tmp_path / "my_run" / "evaluation.json").read_text())["mean"] > 475
    assert min(returns(ended)) > 400
