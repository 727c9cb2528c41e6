"""Words of the command line: names of folders are taken as they stand, flags may stand anywhere, hints work."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modules.envs.gym import check_id
from modules.plots.video import Writer
from modules.spec import UsageError
from pipelines import evaluate, export
from pipelines.agent.held_out import DEFAULTS, Evaluation
from pipelines.config.composing import compose_settings
from pipelines.config.flags import arrange_flags
from pipelines.config.hints import QUOTED, to_hydra
from pipelines.config.settings import parse
from pipelines.console import output
from pipelines.export import Export
from pipelines.resume import settings_of
from tests.pipelines.launch import command
from tests.pipelines.saved_runs import MASKED, saved_run

NASTY = (
    "7",
    "010",
    "1e3",
    "true",
    "null",
    "~",
    "[b]",
    "{a: 1}",
    "k: v",
    "%d",
    "#x",
    "x #y",
    "a=b",
    "a,b",
    "'q'",
    '"',
    "\\",
)
NASTY += (
    "-x",
    " x ",
    "é漢🎈",
    "x\ny",
    "\t",
    "${x}",
    "$x",
    "!t",
    "&a",
    "*a",
    "a:b",
    "@",
    "`",
    "\u2028",
    os.fsdecode(b"\x80"),
)
TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1)
NAMES = st.one_of(st.sampled_from(NASTY), TEXT, st.binary(min_size=1).map(os.fsdecode)).filter(
    lambda name: name.strip(".") and "/" not in name and "\0" not in name
)


@given(name=NAMES)
def test_the_name_of_a_folder_is_no_yaml(name):
    for word in (name, f"/somewhere/{name}", f"{name}/{name}"):
        assert parse(Evaluation, DEFAULTS, [f"run={word}"], "").run == Path(word)
        assert parse(Export, export.DEFAULTS, ["checkpoint=last", f"run={word}"], "").run == Path(word)
        assert settings_of([f"run={word}", "total_frames=1_000"]).run == Path(word)
    if name not in ("best", "last"):
        with pytest.raises(UsageError, match="checkpoint: it should be"):
            parse(Export, export.DEFAULTS, ["run=x", f"checkpoint={name}"], "")


@given(name=NAMES.filter(lambda name: not QUOTED.fullmatch(name)))
def test_hydra_reads_the_name_of_a_folder_as_it_stands(name):
    for setting in ("hydra.run.dir", "++hydra.sweep.dir", "hydra.sweep.subdir"):
        (word,) = to_hydra([f"{setting}={name}"])
        found = OverridesParser.create().parse_override(word)
        assert (found.key_or_group, found.value()) == (setting.lstrip("+"), name)


@pytest.mark.parametrize("name", ["two  words ", "1e3", "a=b,c#d", "é\n漢", "'already' quoted"])
def test_a_run_is_made_in_a_folder_of_any_name(name):
    assert compose_settings((MASKED, f"hydra.run.dir={name}"))[1] == Path(name)


def test_quotes_of_hydra_and_its_interpolations_mean_what_they_did():
    assert compose_settings((MASKED, "hydra.run.dir='a=b'"))[1] == Path("a=b")
    assert compose_settings((MASKED, "hydra.run.dir=${name}=${seed}", "seed=4"))[1] == Path("drqn_cartpole_masked=4")


@settings(max_examples=40)
@given(name=NAMES)
@example("x'\\\n")
def test_a_command_that_is_printed_can_be_pasted(name):
    word = output.quote_path(Path(name))
    assert word.isprintable()
    printed = subprocess.run(["bash", "-c", f"printf %s run={word}"], capture_output=True, check=True).stdout
    assert os.fsdecode(printed) == f"run={Path(name)}"
    assert output.one_line(f"{name}: no run").isprintable()


def test_commands_work_in_a_folder_of_any_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"-a:b=%d, 'x' #\n\x80 ")
    saved_run(Path(name), MASKED)
    assert export.main([f"run={name}"]) == 0
    assert evaluate.main([f"run={name}", "episodes=1", "steps=csv"]) == 0
    assert {"policy.pt2", "evaluation.json", "episodes.csv"} <= set(os.listdir(name))
    with pytest.raises(SystemExit):
        evaluate.main(["run=.", "view=text"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    pasted = said[said.index("run=$'") : said.rindex("'") + 1]
    found = subprocess.run(["bash", "-c", f"printf %s {pasted}"], capture_output=True, check=True).stdout
    assert os.fsdecode(found) == f"run={name}"


@pytest.mark.parametrize("name", ["a:b", "-y", "%03d"])
def test_a_film_lies_in_a_folder_that_ffmpeg_would_take_for_something_else(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Writer(Path(name) / "film.mp4", fps=10) as film:
        film.add(np.zeros((16, 16, 3), np.uint8))
    assert (tmp_path / name / "film.mp4").stat().st_size > 100


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("seed=1 -m lr=2", "--multirun seed=1 lr=2"),
        ("a=1 --cfg job b=2", "--cfg=job a=1 b=2"),
        ("a=1 -c=all --resolve", "--cfg=all --resolve a=1"),
        ("--info a=1", "--info=all a=1"),
        ("--info config a=1", "--info=config a=1"),
        ("--run a=1", "a=1"),
        ("a=1 --help b=-1", "--help a=1 b=-1"),
        ("-sc install=bash", "--shell-completion install=bash"),
    ],
)
def test_flags_may_stand_anywhere(given, wanted):
    assert arrange_flags(given.split()) == wanted.split()


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("hydra/sweeper=basik", r"did you mean hydra/sweeper=basic\?"),
        ("hydra/sweeper=grid", r"there are basic, optuna, ax \(with hydra-ax-sweeper\)"),
        ("hydra/launcher=ray", "needs the package hydra-ray-launcher, which is not installed; there are basic, joblib"),
        ("hydra/job_logging=colorlog", "needs the package hydra-colorlog"),
        ("hydra/launchr=basic", r"no such group; did you mean hydra/launcher"),
        ("network/torzo=mlp", r"no such group; did you mean network/torso"),
        ("hydra.sweeper.max_batch=3", r"did you mean hydra.sweeper.max_batch_size"),
    ],
)
def test_options_of_hydras_own_groups_are_listed(word, says):
    with pytest.raises(UsageError, match=says):
        compose_settings((MASKED, word))


@pytest.mark.parametrize("id", ["tests.pipelines.faulty:Faluty-v0", "tests.pipelines.faulty:CartPol-v1", "Acrobt-v1"])
def test_the_id_that_may_have_been_meant_is_one_that_works(id):
    with pytest.raises(UsageError) as refused:
        check_id(id)
    meant = re.findall(r"[\w.:]+-v\d+", str(refused.value).partition("did you mean")[2])
    assert meant
    for other in meant:
        check_id(other)


@pytest.mark.parametrize("theirs", ["modules/__init__.py", "modules.py"])
def test_a_package_of_the_users_own_that_hides_ours_is_named(theirs, tmp_path):
    path = tmp_path / theirs
    path.parent.mkdir(exist_ok=True)
    path.touch()
    ended = command("pipelines.evaluate", "run=x", cwd=tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"error: {tmp_path / theirs.removesuffix('/__init__.py')} hides Recall's own package")


def test_standard_output_of_a_small_encoding_is_no_reason_to_fail(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.escape_unprintable()
    output.write("ε 0.1 \udc80")
    assert raw.getvalue() == b"\\u03b5 0.1 \\udc80"
