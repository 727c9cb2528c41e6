"""Policies of the Hugging Face Hub, without a network: what is uploaded, and what a stranger's may do."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from modules import checkpoint
from modules.spec import UsageError
from pipelines import evaluate as evaluate_command
from pipelines.api import evaluate, load
from pipelines.share import main
from tests.pipelines.saved_runs import saved_kind
from tests.pipelines.test_share import QUICK, actions_of, without_onnx

__all__ = ["without_onnx"]  # a fixture

hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Api:
    """Keeps what would be uploaded; `repos` are there already, with the names of their files."""

    def __init__(self, repos=None, *, private=False):
        self.repos, self.private, self.calls, self.files = repos or {}, private, [], {}

    def repo_exists(self, repo):
        return repo in self.repos

    def list_repo_files(self, repo):
        return self.repos[repo]

    def repo_info(self, repo):
        return self

    def create_repo(self, repo, **words):
        self.calls.append(("create_repo", repo, words))
        return f"https://hub/{repo}"

    def upload_folder(self, *, folder_path, **words):
        self.calls.append(("upload_folder", words))
        self.files = {str(p.relative_to(folder_path)): p.read_bytes() for p in folder_path.rglob("*") if p.is_file()}


@pytest.fixture
def run_dir(tmp_path) -> Path:
    saved_kind(tmp_path / "run", "lstm")
    return tmp_path / "run"


@pytest.fixture
def api(monkeypatch) -> Api:
    found = Api()
    monkeypatch.setattr(hub, "HfApi", lambda: found)
    monkeypatch.setattr(hub, "get_token", lambda: "token")
    return found


def refused(words, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    output = capsys.readouterr()
    assert (ended.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    return output.err


def test_a_model_is_uploaded(run_dir, api, capsys, tmp_path):
    assert main([f"run={run_dir}", "to=hub:me/lstm", *QUICK, "private=true"]) == 0
    assert capsys.readouterr().out.startswith("https://hub/me/lstm: the policy at frame 1000, in README.md, ")
    (create, upload) = api.calls
    assert create == ("create_repo", "me/lstm", {"private": True, "exist_ok": True})
    assert upload[1]["repo_id"] == "me/lstm"
    assert {*api.files} - {"checkpoints/best.pt"} <= {*upload[1]["delete_patterns"]}  # of an earlier one none is left
    assert set(api.files) - {"policy.onnx"} == {"README.md", "checkpoints/best.pt", "config.yaml", "recall.json"}
    assert b'load("hub:me/lstm")' in api.files["README.md"]
    assert str(tmp_path).encode() not in b"".join(api.files.values())


def test_a_model_of_something_else_is_never_touched(run_dir, api, capsys):
    api.repos = {"me/other": [".gitattributes", "model.safetensors"], "me/ours": ["recall.json"], "me/new": []}
    words = [f"run={run_dir}", *QUICK]
    for more in ((), ("overwrite=true",)):
        assert "holds what `share` did not write" in refused([*words, "to=hub:me/other", *more], capsys)
    assert "say overwrite=true" in refused([*words, "to=hub:me/ours"], capsys)
    api.private = True
    said = refused([*words, "to=hub:me/new"], capsys)
    assert "private=false: hub:me/new is there with private=true, as it stays" in said
    assert not api.calls
    api.private = False
    assert main([*words, "to=hub:me/ours", "overwrite=true"]) == 0
    assert main([*words, "to=hub:me/new"]) == 0


def test_without_a_token_or_the_extra_nothing_is_done(run_dir, api, monkeypatch, capsys):
    monkeypatch.setattr(hub, "get_token", lambda: None)
    said = refused([f"run={run_dir}", "to=hub:me/lstm", *QUICK], capsys)
    assert "to=hub:me/lstm needs a token of the Hub that may write: `hf auth login`, or HF_TOKEN" in said
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.setitem(sys.modules, name, None)
    said = refused([f"run={run_dir}", "to=hub:me/lstm", *QUICK], capsys)
    assert (
        "this needs the package huggingface-hub: install it with `pip install -c constraints.txt -e '.[hub]'`" in said
    )
    assert not api.calls
    assert main([f"run={run_dir}", f"to=folder:{run_dir.with_name('shared')}", *QUICK]) == 0  # which needs neither


def test_what_the_hub_says_is_one_sentence(run_dir, api, monkeypatch, capsys):
    def fail(repo):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(api, "repo_exists", fail)
    assert "hub:me/lstm: the Hub does not do it: no route to host" in refused(
        [f"run={run_dir}", "to=hub:me/lstm"], capsys
    )


@pytest.fixture
def cached(run_dir, tmp_path, monkeypatch) -> Path:
    """A model in the Hub's cache, of a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "cache" / "models--you--lstm"
    shutil.copytree(run_dir, model / "snapshots" / COMMIT)  # of what is shared, this is what is downloaded
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return model / "snapshots" / COMMIT


def test_a_policy_of_the_cache_acts_without_a_network(cached, run_dir):
    expected = actions_of(load(run_dir), (4,))
    assert actions_of(load("hub:you/lstm"), (4,)) == expected
    assert actions_of(load(f"hub:you/lstm@{COMMIT}"), (4,)) == expected
    assert evaluate("hub:you/lstm", episodes=3)["returns"] == evaluate(run_dir, episodes=3)["returns"]


def test_nothing_is_written_into_the_cache(cached, capsys):
    before = {path: path.stat().st_mtime_ns for path in cached.rglob("*")}
    assert evaluate_command.main(["run=hub:you/lstm", "episodes=2"]) == 0
    assert "mean" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in cached.rglob("*")} == before


@pytest.mark.parametrize("name", ["you/other", "you/lstm@elsewhere"])
def test_what_is_not_in_the_cache_is_one_sentence(name, cached):
    with pytest.raises(
        UsageError, match="it is not in the Hub's cache, and the Hub cannot be reached from here"
    ) as said:
        load(f"hub:{name}")
    assert "\n" not in str(said.value)


def test_only_what_is_read_is_downloaded(cached, monkeypatch):
    asked = {}

    def snapshot(repo, **words):
        asked.update(words, repo=repo)
        return str(cached)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    load("hub:you/lstm@v1")
    assert asked == {"repo": "you/lstm", "revision": "v1", "allow_patterns": ["config.yaml", "checkpoints/*.pt"]}


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("env.id", "trap:Thing-v0", "asks to import trap, which is neither Recall's nor of gymnasium"),
        ("env.wrappers", ["trap:Wrapper"], "asks to import trap, which is neither Recall's nor of gymnasium"),
        ("env.wrappers", [{"name": "trap.deep:Wrapper"}], "add plugins=[trap.deep]"),
        ("env.id", "${oc.env:NOPE,trap}:Thing-v0", "asks to import trap,"),
        ("env.wrappers", [{"name": "gymnasium.wrappers:RecordVideo", "video_folder": "x"}], "that writes files"),
        ("optim._target_", "trap.Spec", "no spec of this program"),
        ("plugins", ["trap"], "asks to import trap, which is not ours"),
    ],
)
@pytest.mark.parametrize("use", [load, evaluate])
def test_a_stranger_names_no_module_of_mine(use, setting, value, said, cached, tmp_path, monkeypatch):
    """Not even one that a folder on this machine could name, since it imports Gymnasium."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("trap.py").write_text("import gymnasium\nopen('EXPLODED', 'w').close()\n")
    config = OmegaConf.load(cached / "config.yaml")
    OmegaConf.update(config, setting, value)
    OmegaConf.save(config, cached / "config.yaml")
    with pytest.raises(UsageError) as refusal:
        use("hub:you/lstm")
    assert said in str(refusal.value)
    assert not Path("EXPLODED").exists()


def test_a_module_that_i_name_is_imported(cached, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
    Path("my_hub_sign.py").write_text(f"{text}gymnasium.register('Mine-v0', CartPoleEnv, max_episode_steps=20)\n")
    config = OmegaConf.load(cached / "config.yaml")
    config.env.id = "my_hub_sign:Mine-v0"
    OmegaConf.save(config, cached / "config.yaml")
    policy = load("hub:you/lstm", plugins=["my_hub_sign"])
    assert policy(np.zeros(4, np.float32)) in (0, 1)


def test_a_model_of_something_else_is_no_policy(cached):
    (cached / "config.yaml").unlink()
    with pytest.raises(UsageError, match=r"hub:you/lstm: no policy of Recall's is there \(it has no config.yaml\)"):
        load("hub:you/lstm")


class Trap:
    def __reduce__(self):
        return open, ("EXPLODED", "w")


@pytest.mark.parametrize("use", [load, evaluate])
def test_a_strangers_checkpoint_is_not_unpickled(use, cached, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(
        {**checkpoint.load(cached / "checkpoints" / "best.pt"), "more": Trap()}, cached / "checkpoints" / "best.pt"
    )
    with pytest.raises(UsageError, match=r"best\.pt"):
        use("hub:you/lstm")
    assert not Path("EXPLODED").exists()


@pytest.mark.parametrize("part", ["spaces", "seen", "card"])
def test_what_a_checkpoint_says_of_the_environment_may_be_anything(part, cached):
    path = cached / "checkpoints" / "best.pt"
    state = checkpoint.load(path)
    state["acting"][part] = {"version": 1}
    torch.save(state, path)
    with pytest.raises(UsageError, match="what it says of the environment cannot be read"):
        load("hub:you/lstm")
