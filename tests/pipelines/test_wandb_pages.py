"""W&B's workspace and report as code: `python -m tests.pipelines.test_wandb_pages` writes what is expected anew."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from modules.spec import UsageError
from pipelines import dashboard
from pipelines.config.metrics_page import known
from pipelines.reporting import wandb_pages

GOLDEN = Path(__file__).parent / "golden"
MAKERS = {"workspace": wandb_pages.workspace, "report": wandb_pages.report}
needs_extra = pytest.mark.skipif(find_spec("wandb_workspaces") is None, reason="needs the extra dashboard")


def without_ids(node):
    """What a page says, without what is drawn or dated anew each time."""
    if isinstance(node, list):
        return [without_ids(item) for item in node]
    if not isinstance(node, dict):
        return node
    drawn = ("__id__", "id", "createdAt", "updatedAt", "ref")
    return {name: without_ids(value) for name, value in node.items() if name not in drawn}


def written(name: str) -> str:
    page = MAKERS[name]("somebody", "recall", known())
    said = page._to_model().model_dump_json(by_alias=True, exclude_none=True)
    return json.dumps(without_ids(json.loads(said)), indent=1, sort_keys=True) + "\n"


@needs_extra
@pytest.mark.parametrize("name", MAKERS)
def test_a_page_is_as_expected(name):
    assert written(name) == (GOLDEN / f"wandb_{name}.json").read_text()


@needs_extra
def test_a_workspace_has_a_panel_for_each_metric_that_is_declared_and_for_no_other():
    page = json.loads(written("workspace"))
    panels = [
        panel for section in page["spec"]["section"]["panelBankConfig"]["sections"] for panel in section["panels"]
    ]
    curves = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert sorted(name for curve in curves for name in curve["metrics"]) == sorted(known())
    assert {curve["xAxis"] for curve in curves} == {"frames"}


@needs_extra
def test_without_a_login_it_is_one_sentence(monkeypatch, capsys, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        dashboard.main(["wandb", "project=mine"])
    assert "W&B's pages need a login" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "project: this setting is missing"),
        (["project=a/b"], "project: "),
        (["projekt=a"], "projekt"),
    ],
)
def test_bad_input_is_one_sentence(words, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        dashboard.main(["wandb", *words])
    assert text in capsys.readouterr().err


@needs_extra
def test_what_wandb_refuses_is_one_sentence_and_what_it_takes_an_address(monkeypatch, capsys):
    made = []

    class Page:
        url = "https://example.org/view"

        def __init__(self, entity, project, metrics):
            made.append((entity, project, len(metrics)))

        def save(self):
            if len(made) > 1:
                raise ConnectionError("no route")

    monkeypatch.setattr(wandb_pages, "workspace", Page)
    monkeypatch.setattr(wandb_pages, "report", Page)
    with pytest.raises(UsageError, match=r"W&B refused the Page \(.*no route"):
        wandb_pages.create(["project=mine", "entity=us"])
    assert made == [("us", "mine", len(known()))] * 2
    assert capsys.readouterr().out == "https://example.org/view\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for page in MAKERS:
        (GOLDEN / f"wandb_{page}.json").write_text(written(page))
