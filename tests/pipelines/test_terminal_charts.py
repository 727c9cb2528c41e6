"""W&B's terminal charts get one folder with all runs of a sweep."""

import pytest

from modules.spec import UsageError
from pipelines import dashboard
from pipelines.reporting.terminal_charts import linked, records_in


def record(wandb, name):
    folder = wandb / f"offline-run-20260101_000000-{name}"
    folder.mkdir(parents=True)
    (folder / f"run-{name}.wandb").touch()
    return folder


def test_all_runs_of_a_sweep_are_linked_wherever_its_jobs_keep_them(tmp_path):
    sweep = tmp_path / "sweep"
    found = {record(sweep / "wandb", "a"), record(sweep / "seed=0" / "wandb", "b")}
    record(sweep / "seed=0" / "wandb" / "media" / "wandb", "hidden")
    (sweep / "wandb" / "offline-run-20260101_000000-empty").mkdir()
    assert set(records_in(sweep)) == found
    charts = tmp_path / "charts"
    charts.mkdir()
    linked([*records_in(sweep), *records_in(tmp_path)], charts)
    assert {path.resolve() for path in charts.iterdir()} == found
    assert {path.name for path in charts.iterdir()} == {path.name for path in found}


def test_a_job_whose_runs_are_kept_by_the_sweep_shows_the_sweep(tmp_path):
    (tmp_path / "seed=1").mkdir()
    one = record(tmp_path / "wandb", "a")
    with pytest.raises(UsageError, match=r"no run of W&B found in .*: train with logger=wandb"):
        records_in(tmp_path / "seed=1")
    (tmp_path / "multirun.yaml").touch()
    assert records_in(tmp_path / "seed=1") == [one]


def test_without_a_terminal_it_is_one_sentence(tmp_path, capsys):
    record(tmp_path / "wandb", "a")
    with pytest.raises(SystemExit, match="2"):
        dashboard.main([str(tmp_path), "--terminal"])
    assert "--terminal draws in a terminal, and this is none" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        dashboard.main([str(tmp_path / "nowhere"), "--terminal"])
    assert "is no folder" in capsys.readouterr().err
