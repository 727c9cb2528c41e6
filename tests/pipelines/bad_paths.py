"""Paths, names and words of the command line: words for `bad_commands`, and the folders that stand in them."""

from pathlib import Path

STATE, FAMILY = "+exp=drqn_cartpole_masked", "+exp=agent57_corridor"
PLACES: dict[str, str] = {"Z:é, #1=": "nothing, too"}
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# Flags and words of Hydra's own",
        (STATE, "--cfg"),
        (STATE, "--config-name=mine"),
        (STATE, "--experimental-rerun", "x.pickle"),
        (STATE, "-m", "--cfg", "all"),
        (STATE, "--resolve"),
        (STATE, "hydra/launcher=slurm"),
        (STATE, "hydra/sweeper=nevergrad"),
        (STATE, "hydra/lanucher=joblib"),
        (STATE, "hydra.run.dirs=x"),
        ("seed=0", "-m", STATE, "optim.lr=-1"),
        "# Names of folders",
        (STATE, "name=.."),
        (STATE, "hydra.run.dir="),
        (STATE, "hydra.run.dir=FILE/a, b=#c"),
        "# Sizes",
        (STATE, "network.memory.hidden_size=4294967296"),
        (STATE, "target.period=1e25"),
        (FAMILY, "intrinsic.memory.capacity=5000000000"),
        (STATE, "network.memory.layers=4096"),
    ),
    "evaluate": (("run=",), ("run=Z:é, #1=",), ("run=[RUN]",)),
    "resume": (("run=RUN", "replay.ratio=2"), ("run=RUN", "total_frames=200", "logger=mlflow"), ("run=007",)),
    "export": (("run=~/RUN",),),
    "report": (("RUN", ""),),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
