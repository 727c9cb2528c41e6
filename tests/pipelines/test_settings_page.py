"""docs/settings.md says what every setting is."""

from typing import Annotated, Literal

from pydantic import Field

from modules.optim import AdamSpec
from pipelines.config.settings_page import describe_type, meanings, page
from tests.pipelines.launch import ROOT


def test_the_page_is_current():
    written = (ROOT / "docs" / "settings.md").read_text()
    assert written == page(), "run python -m pipelines.config.settings_page > docs/settings.md"


def test_every_setting_has_a_meaning_also_inside_of_parts_that_are_no_group():
    text = page()
    settings = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert [cells[0] for cells in settings if not cells[2].removesuffix("|").strip()] == []
    shown = {cells[0].strip("|` ") for cells in settings}
    assert shown >= {"arms.gamma_max", "evaluator.window", "descent.lr", "hidden_size", "reward_timeout"}
    assert not {name for name in shown if name.startswith(("torso.", "collector.", "optim."))}  # they have sections


def test_types_and_ranges_in_words():
    assert describe_type(Annotated[int, Field(gt=0, le=9)] | None) == "integer > 0 ≤ 9 or null"
    assert describe_type(Literal["a", "b"]) == "`a`, `b`"
    assert describe_type(tuple[int, ...]) == "list of integer"
    assert describe_type(tuple[int, Annotated[float, Field(ge=0.5)]]) == "[integer, number ≥ 0.5]"
    assert describe_type(AdamSpec) == ""


def test_a_meaning_may_take_several_lines():
    found = meanings(AdamSpec)
    assert found["lr"] == "learning rate."
    assert found["ema_decay"].startswith("decay, per update, ")
    assert found["ema_decay"].endswith("the average does not.")
