"""Environments that cannot be trained on: words for `bad_commands`, and the folders that stand in them."""

from pathlib import Path

PLACES: dict[str, str] = {}
ODD = ("+exp=drqn_cartpole_masked", "env=gym", "env.id=tests.pipelines.odd_ends:Odd-v0", "network/torso=mlp")
ENDS = (
    "# Ends of episodes, and of the process",
    (*ODD, "env.max_steps=0"),
    (*ODD, "env.max_steps=2.5"),
    (*ODD, "env.max_steps=9", "+env.kwargs.max_episode_steps=9"),
    ("+exp=tour", "env.max_steps=9"),
    ("+exp=drqn_cartpole", "env.max_steps=never"),
    ("+exp=drqn_cartpole_masked", "eval_max_steps=0"),
    ("+exp=drqn_cartpole_masked", "eval_max_steps=null"),
    (*ODD, "replay.length=0", "replay.overlap=0"),
    (*ODD, "+env.kwargs.wrong=exit in make"),
    (*ODD, "+env.kwargs.wrong=exit in reset"),
    (*ODD, "+env.kwargs.wrong=exit in step"),
)
COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {"train": ENDS}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
