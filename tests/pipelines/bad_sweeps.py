"""Sweeps, what continues by itself, and reports on sweeps: words for `bad_commands`."""

from pathlib import Path

STATE = "+exp=drqn_cartpole_masked"
PLACES: dict[str, str] = {}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# Sweeps, and what continues",
        ("-m", STATE, "seed=1,2,1", "hydra.sweep.dir=sweep"),
        (STATE, "resume=auto"),
        (STATE, "resume=always"),
        ("-m", STATE, "hydra/sweeper=optuna", "optim.lrr=interval(1,2)"),
        ("-m", STATE, "hydra/sweeper=optuna", "optim.lr=interval(2,1)"),
    ),
    "report": (
        ("RUN", "--by", "optim.rl"),
        ("RUN", "--formats", "gif"),
    ),
}


def prepare(place: Path) -> None:
    """Nothing is needed."""
