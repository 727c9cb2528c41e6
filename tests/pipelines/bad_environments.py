"""Environments that cannot be trained on: words for `bad_commands`, and the folders that stand in them."""

from pathlib import Path

PLACES: dict[str, str] = {}
STATE = "+exp=drqn_cartpole_masked"


def odd(name: str, *words: str, video: bool = False) -> tuple[str, ...]:
    """One of the environments of `odd.py`."""
    return (STATE, f"env.id=tests.pipelines.odd:{name}-v0", "env.keep=null", f"video={str(video).lower()}", *words)


COMMANDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "train": (
        "# What environments show, render and allow",
        odd("Planes"),
        odd("Stack"),
        (STATE, "env.channels=middle"),
        (STATE, "env.keep=null", "env.channels=last"),
        odd("Below"),
        odd("Beyond"),
        odd("Half"),
        odd("Hollow"),
        odd("Void"),
        odd("Huge"),
        odd("Numbered"),
        odd("Port", "collector.num_envs=8", "eval_episodes=4"),
        odd("Modeless", video=True),
        odd("Below", "+env.kwargs.vectorization_mode=async"),
        odd("Hasty", video=True),
        odd("TwoChannels", video=True),
        odd("Unseen", video=True),
        (STATE, "env.id=ALE/Seaquest-v5"),
        (STATE, "env.id=BreakoutNoFrameskip-v4"),
        (STATE, "env.id=popgym-CountRecallHard-v0"),
        (STATE, "env.id=MinAtar/SpaceInvaders-v1"),
    ),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
