"""Policies that are shared, and data sets of episodes: words for `bad_commands`, and the folders that stand in them."""

import shutil
from pathlib import Path

PLACES: dict[str, str] = {"PRIVATE": "one whose environment is given a file of this machine"}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "evaluate": (
        "# Policies of the Hub, and data sets",
        ("run=hub:name",),
        ("run=hub:user/name@",),
        ("run=hub:user/name", "video=true"),
        ("run=RUN", "minari=mine"),
        ("run=RUN", "minari=../mine-v0"),
        ("run=RUN", "minari=5"),
        ("run=.", "minari=mine-v0"),
    ),
    "share": (
        (),
        ("run=RUN",),
        ("run=RUN", "to=my_policy"),
        ("run=RUN", "to=folder:"),
        ("run=RUN", "to=hub:name"),
        ("run=RUN", "to=hub:user/name@main"),
        ("run=RUN", "to=folder:RUN"),
        ("run=RUN", "to=folder:FILE"),
        ("run=RUN", "to=folder:FILE/mine"),
        ("run=NOWHERE", "to=folder:mine"),
        ("run=NO_CHECKPOINT", "to=folder:mine"),
        ("run=PRIVATE", "to=folder:mine"),
        ("run=RUN", "to=folder:mine", "checkpoint=worst"),
        ("run=RUN", "to=folder:mine", "licence=My own"),
        ("run=RUN", "to=folder:mine", "license=mit"),
    ),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
    config = shutil.copytree(place / "RUN", place / "PRIVATE") / "config.yaml"
    text = config.read_text()
    assert "kwargs: {}" in text
    config.write_text(text.replace("kwargs: {}", "kwargs: {sutton_barto_reward: /home/me/level.txt}"))
