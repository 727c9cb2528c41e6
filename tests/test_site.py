"""The site has every page of docs/ once, in an order by task, and builds without a broken link."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
COMMAND = re.compile(r"^python -m pipelines\.(\w+)( .*)?$", re.MULTILINE)


def pages(nav: Any) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    for item in nav:
        for page in item.values():
            yield from pages(page) if isinstance(page, list) else [page]


def wrong(nav: Any, there: set[str]) -> list[str]:
    """List pages that the navigation names twice, or that are not there, or not in it."""
    named = list(pages(nav))
    return sorted({page for page in named if named.count(page) > 1} | (set(named) ^ there))


def all_pages() -> set[str]:
    made = {"index.md", "changelog.md", "contributing.md", "reference/api.md", "reference/leaves.md"}
    made |= {f"reference/{path.parent.name}.md" for path in (ROOT / "modules").glob("*/__init__.py")}
    made |= {f"notebooks/{path.stem}.md" for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
    return made | {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}


def test_the_navigation_has_every_page_once():
    assert not wrong(SITE["nav"], all_pages())


def test_a_page_too_many_or_too_few_is_found():
    there = {"a.md", "b.md"}
    assert not wrong([{"A": "a.md"}, {"More": [{"B": "b.md"}]}], there)
    assert wrong([{"A": "a.md"}, {"B": "b.md"}, {"Again": "a.md"}], there) == ["a.md"]
    assert wrong([{"A": "a.md"}], there) == ["b.md"]
    assert wrong([{"A": "a.md"}, {"B": "b.md"}, {"C": "c.md"}], there) == ["c.md"]


def test_the_guide_is_by_task_and_nothing_is_loaded_from_elsewhere():
    guide = next(item["User guide"] for item in SITE["nav"] if "User guide" in item)
    assert {"My own environment", "Ablation", "Cluster", "Deploy"} <= {next(iter(item)) for item in guide}
    assert SITE["theme"]["font"] is False
    ignored = (ROOT / ".gitignore").read_text().split()
    assert f"{SITE['site_dir'].split('/')[0]}/" in ignored


@pytest.mark.parametrize("page", ["ablation.md", "deploy.md", "sharing.md"])
def test_commands_of_the_guide_are_sound(page):
    """Settings and presets exist; the report's folder and RUN are the reader's."""
    from pipelines.config.composing import compose_run, composing
    from pipelines.config.schema import read
    from pipelines.export import DEFAULTS

    text = (ROOT / "docs" / page).read_text()
    commands = [(name, words.split("#")[0].split()) for name, words in COMMAND.findall(text)]
    assert commands
    for name, words in commands:
        if name == "train":
            with composing():
                cfg, _ = compose_run([word.split(",")[0] for word in words if word != "-m"])
            read(cfg)
        elif name == "export":
            assert {word.partition("=")[0] for word in words} <= {"run", *DEFAULTS}
        else:
            assert (ROOT / "pipelines" / f"{name}.py").is_file()


@pytest.mark.slow
def test_it_builds_strictly(tmp_path):
    for name in ("mkdocs", "material", "mkdocstrings", "nbconvert"):
        pytest.importorskip(name, reason="needs the extra site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    ended = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for page in pages(SITE["nav"]):
        assert (tmp_path / "site" / page).with_suffix(".html").is_file(), page
    assert "drqn_cartpole_masked" in (tmp_path / "site" / "index.html").read_text()
    assert "ValueLoss" in (tmp_path / "site" / "reference" / "losses.html").read_text()
