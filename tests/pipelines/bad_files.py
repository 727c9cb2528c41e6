"""Files and folders that cannot be read or written: words for `bad_commands`, and the folders that stand in them."""

import shutil
from pathlib import Path

STATE = "+exp=drqn_cartpole_masked"
LONG = "long_" * 52  # more than any file system allows
PLACES: dict[str, str] = {
    "FOLDERS": "one whose checkpoints are folders of their names",
    "NO_FOLDER": "one in which a file stands in the place of the folder checkpoints",
    "CONFIG_FOLDER": "one whose config.yaml is a folder",
}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# Folders that cannot be written",
        (STATE, "hydra.run.dir=FILE"),
        (STATE, "hydra.run.dir=FILE/deep/run"),
        (STATE, "hydra.run.dir=RUN/config.yaml/run"),
        (STATE, f"hydra.run.dir={LONG}"),
        (STATE, f"hydra.run.dir=EMPTY/{LONG}/run", "dry=true"),
        ("-m", STATE, "seed=0,1", f"hydra.sweep.dir={LONG}"),
    ),
    "evaluate": (("run=FOLDERS",), ("run=FOLDERS", "checkpoint=last"), ("run=NO_FOLDER",), ("run=CONFIG_FOLDER",)),
    "export": (("run=FOLDERS",), ("run=NO_FOLDER",)),
    "resume": (("run=FOLDERS", "total_frames=200"), ("run=NO_FOLDER", "total_frames=200")),
    "report": (("RUN", "--out", "FILE"), ("RUN", "--out", "RUN/config.yaml/report"), ("RUN", "--out", LONG)),
    "benchmark": (
        ("learner", "--out", "EMPTY"),
        ("learner", "--out", "RUN/config.yaml/table.md"),
        ("learner", "--out", f"{LONG}/table.md"),
    ),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
    for name in PLACES:
        shutil.copytree(place / "RUN", place / name)
    for path in (place / "FOLDERS" / "checkpoints").iterdir():
        path.unlink()
        path.mkdir()
    shutil.rmtree(place / "NO_FOLDER" / "checkpoints")
    (place / "NO_FOLDER" / "checkpoints").touch()
    (place / "CONFIG_FOLDER" / "config.yaml").unlink()
    (place / "CONFIG_FOLDER" / "config.yaml").mkdir()
