"""summary.json: what a run came to, and with what."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modules.files import write_text
from pipelines.config.schema import RunConfig
from pipelines.training.counters import Counters

PACKAGES = ("torch", "torchrl", "tensordict", "gymnasium", "hydra-core", "numpy", "numba")


def put_summary(
    run: RunConfig, run_dir: Path, c: Counters, status: str, *, updates: int = 0, wall_s: float = 0.0, run_id: str = ""
) -> dict[str, Any]:
    """Write summary.json, atomically, and return what it says; a run that has not begun has counted nothing."""
    summary = {
        "exp": run.name,
        "seed": run.seed,
        "run_id": run_id,
        "memory": run.network.memory.name,
        "status": status,
        "frames": c.frames,
        "updates": updates,
        "train_episodes": c.episodes,
        "wall_s": round(wall_s, 2),
        "score": c.score.get("eval/return_mean"),
        "score_std": c.score.get("eval/return_std"),
        "score_min": c.score.get("eval/return_min"),
        "episodes": c.score.get("eval/episodes"),
        "eval_envs": run.evaluation_envs,
        "ema_decay": run.optim.ema_decay,
        "best_score": c.best_score,
        "device": str(run.torch_device),
        "commit": commit(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    write_text(run_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def commit() -> str | None:
    """The commit of the checkout that this code runs from; None outside one."""
    here = Path(__file__).resolve().parent
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
