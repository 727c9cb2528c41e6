"""`--help` of training begins with how to begin and lists all that can be chosen; without a choice nothing runs."""

import os
import re
from pathlib import Path

import pytest

from pipelines.config.help_text import WIDEST, meaning
from pipelines.config.hints import OVER_ALL, options
from tests.pipelines.launch import ROOT, run

GROUPS = {group: [name for other, name in options() if other == group] for group, _ in options()}


def wide() -> None:
    os.environ["COLUMNS"] = str(WIDEST + 1)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("help")
    ended = run("pipelines.train", "--help", cwd=place, before=wide)
    assert (ended.code, ended.err, list(place.iterdir())) == (0, "", [])
    return ended.out


def test_it_begins_with_usage_and_three_examples_that_are_sound(text):
    assert text.startswith("python -m pipelines.train +exp=PRESET ")
    commands = re.findall(r"^  python -m (pipelines.train) (.*?) +#", text, re.MULTILINE)
    assert len(commands) == 3
    assert text.index("Examples:") < text.index("Presets") < text.index("Parts")
    for _, words in commands:
        assert re.search(r"\+exp=(\w+)", words)[1] in GROUPS["exp"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_example_is_sound(text, number, tmp_path):
    words = re.findall(r"^  python -m pipelines.train (.*?) +#", text, re.MULTILINE)[number].split()
    ended = run("pipelines.train", *words, "dry=true", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "the configuration is sound" in ended.out + ended.err


def test_every_preset_has_one_line_with_its_meaning_and_stands_once(text):
    listed = re.findall(r"^  (\w+) {2,}(\S.*)$", text, re.MULTILINE)
    names = [name for group in OVER_ALL for name in GROUPS[group]]
    assert sorted(name for name, _ in listed) == sorted(names)
    assert dict(listed) == {name: meaning(group, name) for group in OVER_ALL for name in GROUPS[group]}
    assert max(map(len, text.splitlines())) <= WIDEST


def test_every_part_is_listed_with_all_its_options(text):
    parts = re.sub(r"\n {6}", " ", text.split("Parts", 1)[1])  # lines that were wrapped
    listed = {group: names.split(", ") for group, names in re.findall(r"^  ([\w/]+): (.*)$", parts, re.MULTILINE)}
    assert listed == {group: names for group, names in GROUPS.items() if group not in OVER_ALL}


def test_with_a_preset_it_lists_the_settings_that_this_makes(tmp_path):
    ended = run("pipelines.train", "+exp=tour", "name=mine", "--help", cwd=tmp_path)
    assert ended.code == 0
    assert "\nname: mine\n" in ended.out
    assert "tour_ruin_2swamp" not in ended.out
    assert "docs/settings.md" in ended.out.split("\nname: mine\n")[1]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# @package _global_\n# A thing: with more.\nname: x\n", "A thing"),
        ("# Of Ni et al. (2023), seen 3. 5 times. Next\n# sentence\n", "Of Ni et al. (2023), seen 3. 5 times"),
        ("# Over\n# two lines.\n", "Over two lines"),
        ("name: x\n# later\n", ""),
    ],
)
def test_a_meaning_is_what_the_comment_begins_with(comment, expected, monkeypatch, tmp_path):
    (tmp_path / "exp").mkdir()
    Path(tmp_path, "exp", "mine.yaml").write_text(comment)
    monkeypatch.setattr("pipelines.config.help_text.CONF", str(tmp_path))
    assert meaning("exp", "mine") == expected


def test_options_of_a_folder_of_ones_own_are_listed(tmp_path):
    Path(tmp_path, "mine", "exp").mkdir(parents=True)
    Path(tmp_path, "mine", "exp", "my_run.yaml").write_text("# @package _global_\nseed: 3\n")
    ended = run("pipelines.train", "--config-dir", "mine", "--help", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert re.search(r"^  my_run *$", ended.out, re.MULTILINE)


@pytest.mark.parametrize("words", [(), ("seed=1",), ("-m", "seed=0,1"), ("dry=true", "hydra.run.dir=run")])
def test_without_a_choice_nothing_is_trained(words, tmp_path):
    ended = run("pipelines.train", *words, cwd=tmp_path)
    assert (ended.code, ended.out, list(tmp_path.iterdir())) == (2, "", [])
    assert ended.err.startswith("error: nothing says what to train; the defaults alone would be DRQN on CartPole")


def test_the_defaults_are_what_that_sentence_says():
    written = (ROOT / "conf" / "config.yaml").read_text()
    assert "- env: cartpole_pixels" in written
    assert "- algo: drqn" in written
