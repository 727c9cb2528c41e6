"""Run folders that were damaged or forged: words for `bad_commands`, and the folders that stand in them."""

import shutil
import struct
from pathlib import Path

import numpy as np

from modules import checkpoint

PLACES: dict[str, str] = {
    "LAUGHS": "one whose config.yaml is 1 kB of nested aliases",
    "ENDLESS": "one in whose config.yaml a setting refers to others, doubled each time",
    "TRAP": "one whose config.yaml names a module as a part",
    "TRAP_ENV": "one whose config.yaml names a module of Python itself as that of its environment",
    "PLUGIN": "one that was trained with plugins=[my_parts]",
    "BEST": "one whose newest checkpoint is best.pt under another name",
    "STRANGER": "one whose newest checkpoint is that of another run",
    "NEGATIVE": "one whose newest checkpoint is of frame -100",
    "LOOPING": "one whose replay says that each row comes before itself",
    "OVERWRITTEN": "one whose replay was written over since its newest checkpoint",
}
MORE = "total_frames=200"
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# Modules of one's own",
        ("+exp=drqn_cartpole_masked", "optim._target_=my_parts.Mine"),
        ("+exp=drqn_cartpole_masked", "plugins=[nowhere_at_all]"),
        ("+exp=drqn_cartpole_masked", "plugins=my_parts"),
        ("+exp=drqn_cartpole_masked", "plugins=['../my_parts']"),
        ("--config-dir", "LAUGHS", "+exp=drqn_cartpole_masked"),
        ("--config-dir=LAUGHS", "+config=config"),
    ),
    "evaluate": (
        "# Folders of unknown origin",
        ("run=LAUGHS",),
        ("run=ENDLESS",),
        ("run=TRAP",),
        ("run=TRAP_ENV",),
        ("run=PLUGIN",),
        ("run=PLUGIN", "plugins=[my_parts]"),
    ),
    "resume": (
        "# Folders of unknown origin, damaged ones",
        ("run=TRAP", MORE),
        ("run=BEST", MORE),
        ("run=STRANGER", MORE),
        ("run=NEGATIVE", MORE),
        ("run=LOOPING", MORE),
        ("run=OVERWRITTEN", MORE),
    ),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
    for name in PLACES:
        shutil.copytree(place / "RUN", place / name)
    laughs = "".join(f"{y}: &{y} [{', '.join(9 * [f'*{x}'])}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))
    (place / "LAUGHS" / "config.yaml").write_text("a: &a [lol]\n" + laughs)
    doubled = "".join(f"x{i}: ${{x{i - 1}}}${{x{i - 1}}}\n" for i in range(1, 40))
    (place / "ENDLESS" / "config.yaml").write_text("x0: lol\n" + doubled)
    for name, old, new in (
        ("TRAP", "modules.optim.AdamSpec", "antigravity.Spec"),
        ("TRAP_ENV", "id: CartPole-v1", "id: antigravity:CartPole-v1"),
        ("PLUGIN", "plugins: []", "plugins: [my_parts]"),
    ):
        config = place / name / "config.yaml"
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))
    newest = {name: checkpoint.latest(place / name / "checkpoints") for name in PLACES}
    shutil.copy(newest["BEST"].with_name("best.pt"), newest["BEST"])
    for name, change in (("STRANGER", {"run_id": 32 * "0"}), ("NEGATIVE", {"frames": -100})):
        checkpoint.write(newest[name], checkpoint.load(newest[name]) | change)
    np.memmap(place / "LOOPING" / "replay" / "before.memmap", np.int64, "r+")[0] = 0
    mark = place / "OVERWRITTEN" / "replay" / "written"
    mark.write_bytes(mark.read_bytes()[:32] + struct.pack("<q", 10**6))
