"""The config.yaml of an older run, which lacks settings that came later, is read as if all was as before them."""

import pytest
import yaml

from modules.spec import UsageError
from pipelines.agent.trained_agent import load_run
from pipelines.config.older import LATER
from pipelines.evaluate import main
from tests.pipelines.saved_runs import saved_kind


def without(config: dict, path: str) -> bool:
    """Remove a setting; tell whether it was there."""
    *above, name = path.split(".")
    for part in above:
        config = config.get(part) or {}
    return config.pop(name, LATER) is not LATER


@pytest.mark.parametrize("kind", ["lstm", "family"])
def test_an_older_run_is_read_and_evaluated(kind, tmp_path, capsys):
    saved_kind(tmp_path, kind)
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    run, _ = load_run(tmp_path, ())
    removed = [name for name in LATER if without(config, name)]
    assert len(removed) >= 8
    path.write_text(yaml.safe_dump(config))
    older, values = load_run(tmp_path, ())
    assert older.callbacks == {}
    assert values["env"] == yaml.safe_load(yaml.safe_dump(config))["env"] | {
        name.removeprefix("env."): LATER[name] for name in removed if name.startswith("env.")
    }
    assert older.spaces == run.spaces
    assert main([f"run={tmp_path}", "episodes=2"]) == 0
    assert "mean" in capsys.readouterr().out


def test_what_was_never_left_out_is_missing(tmp_path):
    saved_kind(tmp_path, "lstm")
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["loss"]["gamma"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UsageError, match=r"loss\.gamma: this setting is missing"):
        load_run(tmp_path, ())
