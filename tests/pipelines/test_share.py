"""`pipelines.share`: what others get acts as the original, says what it is worth, and says nothing of this machine."""

import json
import re
import shlex
import shutil
import socket
import zipfile
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.api import load
from pipelines.config.composing import compose_settings
from pipelines.share import main
from pipelines.sharing.card import COMMIT
from pipelines.sharing.folder import private, public_config
from pipelines.sharing.retraining import leaves, training_command
from pipelines.training.session import config_of
from tests.cases import later
from tests.pipelines.saved_runs import MASKED, saved_kind, saved_run, varied

QUICK = ("episodes=2", "video=false")


@pytest.fixture(autouse=True)
def without_onnx(request, monkeypatch):
    """Leave out what takes seconds, but for one test."""
    if "goes_along" not in request.node.name:
        monkeypatch.setattr("pipelines.sharing.folder.find_spec", lambda name: None)


def front_matter(folder: Path) -> dict:
    found = re.match(r"---\n(.*?)\n---\n", (folder / "README.md").read_text(), re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def actions_of(policy, shape, count: int = 60) -> list[int]:
    observations = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    return [policy(observation, reward=1.0) for observation in observations]


@pytest.mark.parametrize("kind", ["lstm", "previous", later("window"), later("family")])
def test_what_is_shared_acts_as_the_run(kind, tmp_path, capsys):
    saved_kind(tmp_path / "run", kind)
    assert main([f"run={tmp_path / 'run'}", f"to=folder:{tmp_path / 'shared'}", *QUICK]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    expected = actions_of(load(tmp_path / "run"), (4,))
    assert actions_of(load(tmp_path / "shared"), (4,)) == expected
    assert varied(expected)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "checkpoints"}  # as it was
    assert output.out.startswith(f"{tmp_path / 'shared'}: the policy at frame 1000, in README.md, checkpoints/best.pt")


def test_the_card_says_what_the_policy_is_worth(finished_run, tmp_path):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    assert main([f"run={run_dir}", f"to=folder:{tmp_path / 'shared'}", "episodes=5", "video=false"]) == 0
    about = json.loads((tmp_path / "shared" / "recall.json").read_text())
    score, text = about["score"], (tmp_path / "shared" / "README.md").read_text()
    assert score["episodes"] == 5
    assert score["low"] <= score["mean"] <= score["high"]
    assert f"**{score['mean']:.2f}** (95 % interval {score['low']:.2f} to {score['high']:.2f})" in text
    assert "5 greedy episodes that training never saw" in text
    head = front_matter(tmp_path / "shared")
    assert head["license"] == "mit"
    assert head["library_name"] == "recall"
    assert {"CartPole-v1", "reinforcement-learning"} <= set(head["tags"])
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == f"{score['mean']:.2f} +/- {score['std']:.2f}"
    assert COMMIT.fullmatch(about["commit"])
    assert about["commit"] in text
    assert about["versions"]["torch"] in text
    for name in ("learning_curve.png", "metrics.csv", "config.yaml"):
        assert (tmp_path / "shared" / name).is_file()
    assert "![learning curve](learning_curve.png)" in text
    assert matplotlib.image.imread(tmp_path / "shared" / "learning_curve.png").std() > 0.05


def test_the_library_reads_the_card(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    saved_kind(tmp_path / "run", "lstm")
    assert main([f"run={tmp_path / 'run'}", f"to=folder:{tmp_path / 'shared'}", *QUICK, "licence=apache-2.0"]) == 0
    card = hub.ModelCard.load(tmp_path / "shared" / "README.md")
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_name, result.metric_type) == (
        *("reinforcement-learning", "CartPole-v1", "mean_reward"),
    )
    assert re.fullmatch(r"[\d.]+ \+/- [\d.]+", result.metric_value)
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "recall")
    assert card.data.pipeline_tag == "reinforcement-learning"
    assert yaml.safe_load(card.data.to_yaml())["model-index"] == front_matter(tmp_path / "shared")["model-index"]


def everything_in(folder: Path) -> bytes:
    """The bytes of all files, and of what archives hold."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found.append(path.read_bytes())
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [archive.read(name) for name in archive.namelist()]
    return b"\n".join(found)


def test_nothing_of_this_machine_goes_along(finished_run, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(socket, "gethostname", lambda: "host-of-mine")
    run_dir = shutil.copytree(finished_run, tmp_path / "run_of_mine")
    config = OmegaConf.load(run_dir / "config.yaml")
    config.logger.project, config.logger.tags = "secret-project", ["secret-tag"]
    OmegaConf.save(config, run_dir / "config.yaml")
    (run_dir / "train.log").write_text(f"began in {run_dir}")
    assert main([f"run={run_dir}", f"to=folder:{tmp_path / 'shared'}", "episodes=2"]) == 0
    names = {str(path.relative_to(tmp_path / "shared")) for path in (tmp_path / "shared").rglob("*") if path.is_file()}
    assert names - {"policy.onnx"} == {
        *("README.md", "checkpoints/best.pt", "config.yaml", "learning_curve.png", "metrics.csv", "recall.json"),
        *("replay.gif", "replay.mp4"),
    }
    content = everything_in(tmp_path / "shared")
    ours = str(Path(__file__).resolve().parents[2])
    for text in (str(tmp_path), str(Path.home()), ours, "host-of-mine", "k" * 40, "secret-", "run_of_mine"):
        assert text.encode() not in content, text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/data/levels/a.txt", "a path of this machine"),
        ("~/levels", "a path of this machine"),
        (r"C:\levels", "a path of this machine"),
        ("file:///home/me/a", "a path of this machine"),
        ("tcp://host.of.mine:1", "the name of this machine"),
        ("host/levels", "the name of this machine"),
        ("someone@elsewhere", "the name of a user"),
        ("x" * 20, "a secret"),
        ("ALE/Pong-v5", ""),
        ("modules.envs.gym.GymSpec", ""),
        ("someone", ""),  # a word like any other
        ("relu", ""),
    ],
)
def test_private_settings_are_found(text, said, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "x" * 20)
    monkeypatch.setattr("pipelines.sharing.folder.getuser", lambda: "someone")
    monkeypatch.setattr("pipelines.sharing.folder.socket.gethostname", lambda: "host.of.mine")
    assert private(text).startswith(said)
    assert bool(private(text)) == bool(said)
    assert "x" * 20 not in private(text)


def test_a_secret_is_known_by_its_name_where_nothing_else_tells():
    with pytest.raises(UsageError, match=r"env.kwargs.api_key in its config.yaml is a secret") as said:
        public_config({"env": {"kwargs": {"api_key": "s3cr3t-of-mine"}}}, Path("run"))
    assert "s3cr3t" not in str(said.value)


def test_a_user_without_a_name_shares_all_the_same(monkeypatch):
    monkeypatch.setattr("pipelines.sharing.folder.getuser", lambda: {}["uid"])
    assert private("ALE/Pong-v5") == ""


def test_a_private_setting_is_refused_by_its_name_and_a_cluster_left_out():
    config = {"env": {"kwargs": {"level": "/data/a.txt"}}, "collector": {"address": "10.0.0.1:6379"}}
    with pytest.raises(UsageError, match=r"run: env.kwargs.level in its config.yaml is a path of this machine"):
        public_config(config, Path("run"))
    assert public_config({**config, "env": {}}, Path("run"))["collector"]["address"] == "local"


def test_a_folder_of_something_else_is_never_touched(tmp_path, capsys):
    saved_kind(tmp_path / "run", "lstm")
    place = tmp_path / "mine"
    place.mkdir()
    (place / "README.md").write_text("mine")
    for words in ((), ("overwrite=true",)):
        with pytest.raises(SystemExit) as ended:
            main([f"run={tmp_path / 'run'}", f"to=folder:{place}", *QUICK, *words])
        assert ended.value.code == 2
        assert "holds what `share` did not write: name another one" in capsys.readouterr().err
    (place / "recall.json").write_text('{"format": "another"}')
    with pytest.raises(SystemExit):
        main([f"run={tmp_path / 'run'}", f"to=folder:{place}", *QUICK, "overwrite=true"])
    assert (place / "README.md").read_text() == "mine"
    assert {path.name for path in place.iterdir()} == {"README.md", "recall.json"}


def test_a_shared_folder_is_replaced_when_asked(finished_run, tmp_path, capsys):
    run_dir, place = shutil.copytree(finished_run, tmp_path / "run"), tmp_path / "mine"
    assert main([f"run={run_dir}", f"to=folder:{place}", *QUICK]) == 0
    (place / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        main([f"run={run_dir}", f"to=folder:{place}", *QUICK])
    assert "say overwrite=true" in capsys.readouterr().err
    (run_dir / "metrics.csv").unlink()
    assert main([f"run={run_dir}", f"to=folder:{place}", *QUICK, "overwrite=true", "checkpoint=last"]) == 0
    assert [path.name[:7] for path in (place / "checkpoints").iterdir()] == ["frames_"]
    assert not (place / "metrics.csv").exists()
    assert (place / "notes.txt").read_text() == "mine"
    assert 'load("mine", checkpoint="last")' in (place / "README.md").read_text()
    load(place, "last")
    with pytest.raises(UsageError, match="use checkpoint=last"):
        load(place)


def test_a_link_in_the_place_of_the_folder_is_not_written_through(tmp_path, capsys):
    saved_kind(tmp_path / "run", "lstm")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit):
        main([f"run={tmp_path / 'run'}", f"to=folder:{tmp_path / 'mine'}", *QUICK])
    assert "a link, through which nothing is written" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_evaluation_of_these_weights_is_taken_and_no_other(tmp_path):
    saved_kind(tmp_path / "run", "lstm")
    found = {"checkpoint": "best", "frames": 1000, "length_mean": 7.0, "returns": [6.0, 8.0]}
    others = ({"frames": 999}, {"checkpoint": "last"}, {"arm": 3}, {"returns": [14.0]})
    for number, change in enumerate(({}, *others)):
        (tmp_path / "run" / "evaluation.json").write_text(json.dumps({**found, **change}))
        assert main([f"run={tmp_path / 'run'}", f"to=folder:{tmp_path / str(number)}", *QUICK]) == 0
        score = json.loads((tmp_path / str(number) / "recall.json").read_text())["score"]
        assert (score["mean"] == 7.0) == (not change), change


@pytest.mark.parametrize(
    "words",
    [
        later((MASKED,)),
        later((MASKED, "seed=3", "network/memory=none")),
        (MASKED, "network/memory=gru", "network.head.hidden=[64,32]", "env.window_length=2", "optim.lr=3e-4"),
        later((MASKED, "replay=prioritised", "replay/storage=compressed", "env.kwargs.sutton_barto_reward=true")),
        later(("+exp=ngu_corridor", "intrinsic.lifelong.max_alpha=3", "stop_at_score=null")),
    ],
)
def test_the_command_trains_with_the_same_settings(words):
    config = config_of(compose_settings(words)[0])
    command = training_command(config)
    start = f"python -m pipelines.train {words[0]}"
    assert command.startswith(start)
    again = config_of(compose_settings(shlex.split(command)[3:])[0])
    assert leaves(again) == leaves(config)
    assert len(shlex.split(command)) - 3 <= 2 * len(words)  # an option is one word, and not each of its settings


def test_a_run_without_a_preset_has_no_command():
    config = config_of(compose_settings((MASKED, "name=mine"))[0])
    assert training_command(config) == ""


def test_a_table_cannot_be_exported_and_is_shared_all_the_same(tmp_path):
    saved_run(tmp_path / "run", "+exp=tour_q")
    assert main([f"run={tmp_path / 'run'}", f"to=folder:{tmp_path / 'shared'}", *QUICK]) == 0
    assert not (tmp_path / "shared" / "policy.onnx").exists()
