"""The folder of a run that begins: nothing there is written over, and nothing leads elsewhere."""

import json
import shutil
from pathlib import Path

from modules.files import refuse_link, refuse_unwritable
from modules.spec import UsageError
from pipelines.console.output import quote_path

# What a run continues writing, where all else in its folder is replaced; the replay sees to itself.
GROWING = ("train.log", "metrics.csv", "timing.csv", "arms.csv", "checkpoints", "videos", "tensorboard", "wandb")


def refuse_existing(run_dir: Path) -> None:
    """Raise `UsageError` if `run_dir` holds a run already, cannot be a folder, cannot be written, or has links."""
    refuse_unwritable(run_dir, "hydra.run.dir")
    if has_run(run_dir):
        raise UsageError(
            f"{run_dir}: a run is there already; continue it by `python -m pipelines.resume run={quote_path(run_dir)}` "
            "or choose another hydra.run.dir"
        )
    refuse_links(run_dir)


def has_run(run_dir: Path) -> bool:
    """Tell whether `run_dir` holds what a run has learned, or what nobody knows the origin of."""
    names = ("checkpoints", "summary.json", "metrics.csv", "replay")
    return any((run_dir / name).exists() for name in names) and not never_began(run_dir)


def refuse_links(run_dir: Path) -> None:
    """Raise `UsageError` if a file or folder that a run would write into leads elsewhere."""
    for name in GROWING:
        refuse_link(run_dir / name)


def never_began(run_dir: Path) -> bool:
    """Tell whether `run_dir` is that of a run of ours which ended before its first checkpoint and its first row."""
    try:
        ours = "_target_: pipelines.config.schema.RunConfig" in (run_dir / "config.yaml").read_text().splitlines()
        rows = (run_dir / "metrics.csv").read_text().count("\n") if (run_dir / "metrics.csv").exists() else 0
        frames = json.loads(path.read_text())["frames"] if (path := run_dir / "summary.json").exists() else 0
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return ours and rows <= 1 and not frames and not any((run_dir / "checkpoints").glob("*.pt"))


def clear(run_dir: Path) -> None:
    """Remove what a run left that never began; a run begins here."""
    (run_dir / "error.txt").unlink(missing_ok=True)
    if never_began(run_dir):
        for name in ("summary.json", "metrics.csv", "timing.csv", "arms.csv"):
            (run_dir / name).unlink(missing_ok=True)
        shutil.rmtree(run_dir / "replay", ignore_errors=True)
