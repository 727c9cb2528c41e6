"""The local page: what trackio is given is what the tables say, and a real browser shows it."""

import json
import shutil
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from modules.spec import UsageError
from pipelines import dashboard
from pipelines.reporting.trackio_project import Project, named_within

# Not importorskip, which would import it before it is told where its folder is.
pytestmark = pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra dashboard")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CONFIG = """_target_: pipelines.config.schema.RunConfig
seed: 3
network: {_target_: a.NetworkSpec, memory: {_target_: a.LstmSpec, hidden: [8, 16]}}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where trackio keeps its projects in this process; it reads that once."""
    return tmp_path_factory.mktemp("trackio")


def make_run(folder: Path, rows: int, bonus: float = 0.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "summary.json").write_text(json.dumps({"status": "running"}))
    scores = [f"{10 * i},{i / 3 + bonus!r},{'' if i % 2 else i}\n" for i in range(rows)]
    (folder / "metrics.csv").write_text("".join(["frames,eval/return_mean,loss/q\n", *scores]))
    walls = [f"{10 * i},{i / 2}\n" for i in range(rows)]
    (folder / "timing.csv").write_text("".join(["frames,perf/wall_s\n", *walls]))


def held(folder: Path, project: str) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """What trackio's own file has, by run, in the order of its rows."""
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    with sqlite3.connect(folder / f"{project}.db") as file:
        for name, step, measured in file.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id"):
            found.setdefault(name, []).append((step, json.loads(measured)))
    return found


def expected(rows: int, bonus: float = 0.0) -> list[tuple[int, dict[str, float]]]:
    return [
        (10 * i, {"eval/return_mean": i / 3 + bonus, **({} if i % 2 else {"loss/q": i}), "perf/wall_s": i / 2})
        for i in range(rows)
    ]


def test_a_project_has_the_numbers_of_the_tables_and_grows_with_them(kept, tmp_path):
    make_run(tmp_path / "sweep" / "x=1,seed=0", 2)
    make_run(tmp_path / "sweep" / "x=1,seed=1", 5)
    project = Project("grows", kept, [tmp_path / "sweep"])
    assert [*project.update()] == []
    make_run(tmp_path / "sweep" / "x=1,seed=0", 4)  # in progress
    make_run(tmp_path / "sweep" / "x=1,seed=1", 4, bonus=1.0)  # resumed: its rows were written again
    make_run(tmp_path / "sweep" / "x=2,seed=0", 1)  # new
    both = {"x=1,seed=0": expected(4), "x=1,seed=1": expected(4, 1.0), "x=2,seed=0": expected(1)}
    for other in (project, project, Project("grows", kept, [tmp_path / "sweep"])):  # twice, and by a second command
        assert [*other.update()] == []
        assert held(kept, "grows") == both
    with (tmp_path / "sweep" / "x=1,seed=0" / "metrics.csv").open("a") as file:
        file.write("40,1.0,2.0\n")  # whose other half, in timing.csv, is not there yet
    assert [*project.update()] == []
    assert held(kept, "grows") == both
    with sqlite3.connect(kept / "grows.db") as file:
        configs = {name: json.loads(text) for name, text in file.execute("SELECT run_name, config FROM configs")}
    config = configs["x=1,seed=0"]
    del config["_Created"]
    assert config == {
        "seed": 3,
        "network.kind": "Network",
        "network.memory.kind": "Lstm",
        "network.memory.hidden": [8, 16],
        "_Group": "x=1",
    }


def test_a_run_that_cannot_be_shown_is_named_once_and_hides_no_other(kept, tmp_path):
    make_run(tmp_path / "good", 2)
    make_run(tmp_path / "bad", 2)
    (tmp_path / "bad" / "config.yaml").unlink()
    project = Project("damaged", kept, [tmp_path])
    (problem,) = project.update()
    assert "there is no config.yaml" in problem
    assert [*project.update()] == []
    assert held(kept, "damaged") == {"good": expected(2)}


def test_names_stay_when_a_second_sweep_begins(kept, tmp_path):
    make_run(tmp_path / "a" / "seed=0", 2)
    project = Project("stays", kept, [tmp_path])
    assert [*project.update()] == []
    make_run(tmp_path / "a" / "seed=0", 3)
    make_run(tmp_path / "b" / "seed=0", 1)
    assert [*project.update()] == []
    assert held(kept, "stays") == {"a/seed=0": expected(3), "b/seed=0": expected(1)}


def test_names_have_as_much_of_the_folders_as_tells_places_apart(tmp_path, monkeypatch):
    runs = [tmp_path / "a" / "seed=0", tmp_path / "b" / "seed=0"]
    for run in runs:
        make_run(run, 1)
    assert [*named_within([tmp_path / "a"], runs[:1]).values()] == ["seed=0"]
    assert [*named_within(runs[:1], runs[:1]).values()] == ["seed=0"]
    assert [*named_within([tmp_path / "a", tmp_path / "b"], runs).values()] == ["a/seed=0", "b/seed=0"]
    (tmp_path / "a" / "other").symlink_to(runs[1])
    monkeypatch.chdir(tmp_path / "a")
    assert [*named_within([Path()], [Path("seed=0"), Path("other")]).values()] == ["seed=0", "other"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "'nowhere' is no folder"),
        ([".", "--port", "80"], "--port 80: it must be 1024 to 65535"),
        ([".", "--every", "0"], "--every 0.0: it must be 0.1 to 3600 seconds"),
        ([".", "--fill"], "--fill needs --out"),
        ([".", "--prot", "8000"], "unrecognized arguments: --prot"),
    ],
)
def test_bad_input_is_one_sentence(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        dashboard.main(words)
    assert text in capsys.readouterr().err


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_the_page_is_served_on_this_machine_only_and_without_a_token(kept, tmp_path, capfd):
    make_run(tmp_path / "one", 3)
    project = Project("served", kept, [tmp_path])
    assert [*project.update()] == []
    port = free_port()
    with project.served(port) as address:
        assert address == f"http://127.0.0.1:{port}/?project=served&smoothing=0"
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert b"<html" in answer.read()
        write = {"project": "served", "run": "intruder", "metrics": {"a": 1}, "step": 1, "hf_token": None}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/log", json.dumps(write).encode(), {"content-type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10)
        with pytest.raises(UsageError, match=f"--port {port}: nothing can listen there"):
            project.served(port).__enter__()
    assert held(kept, "served") == {"one": expected(3)}
    assert "token" not in "".join(capfd.readouterr())


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_curves_of_all_runs_without_network(kept, tmp_path):
    make_run(tmp_path / "first", 6)
    make_run(tmp_path / "second", 6, bonus=2.0)
    project = Project("seen", kept, [tmp_path])
    assert [*project.update()] == []
    with project.served(free_port()) as address:
        offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        size, profile = "--window-size=1280,900", f"--user-data-dir={tmp_path / 'chromium'}"
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", size, profile, offline)
        command = [str(BROWSER), *flags, "--virtual-time-budget=10000", "--dump-dom", address]
        page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for shown in ("first", "second", "return_mean", "wall_s"):
        assert f">{shown}<" in page
    assert page.count("<canvas") >= 2
