"""Environments that cannot be trained on: words for `bad_commands`, and the folders that stand in them."""

import shutil
from pathlib import Path

PLACES: dict[str, str] = {}
STATE = "+exp=drqn_cartpole_masked"


def odd(name: str, *words: str, video: bool = False) -> tuple[str, ...]:
    """One of the environments of `odd.py`."""
    return (STATE, f"env.id=tests.pipelines.odd:{name}-v0", "env.keep=null", f"video={str(video).lower()}", *words)


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
        *ENDS,
        "# Scales, allowed actions, blank frames, wrappers with arguments",
        (STATE, "env.reward_scale=0"),
        (STATE, "env.reward_scale=episodes"),
        (*ODD, "env.reward_scale=episode"),
        (STATE, "env.reward_clip=-1"),
        (STATE, "env.normalise=batch"),
        (STATE, "env.normalise_until=1000"),
        ("+exp=drqn_cartpole", "env.normalise=running"),
        ("+exp=tour_q", "env.normalise=running"),
        (STATE, "env.action_mask=true"),
        (STATE, "env.keep=null", "env.action_mask=observation"),
        (STATE, "env.keep=null", "env.action_mask=info"),
        ("+exp=drqn_cartpole", "env.flicker=2"),
        (STATE, "env.wrappers=[{name: gymnasium.wrappers:TimeLimit, steps: 3}]"),
        (STATE, "env.wrappers=[{max_episode_steps: 3}]"),
        (STATE, "env.wrappers=[{name: TimeLimit, max_episode_steps: 3}]"),
    ),
}


def prepare(place: Path) -> None:
    """Make the folders of PLACES in `place`, which has those of `bad_input` already."""
    scaled_runs(place)


# Running statistics, and how many environments an evaluation has.
SCALED = "tests.pipelines.scaled"
DQN = ("algo=dqn", "env=gym", "network/torso=mlp")
PLACES["SCALED"] = "a run in whose config.yaml NormalizeObservation was put around the environment by hand"
COMMANDS["train"] = (
    *COMMANDS.get("train", ()),
    "# Running statistics",
    (*DQN, "env.wrappers=[gymnasium.wrappers:NormalizeObservation]"),
    (*DQN, "env.wrappers=[gymnasium.wrappers:NormalizeReward,gymnasium.wrappers:FlattenObservation]"),
    (*DQN, f"env.wrappers=[{SCALED}:Gently]"),
    (*DQN, f"env.wrappers=[{SCALED}:Copied]"),
    (*DQN, f"env.id={SCALED}:Paid-v0", "dry=true"),
    ("+exp=drqn_cartpole", f"env.id={SCALED}:Holder-v0"),
    "# Evaluations",
    (*DQN, "eval_envs=0"),
    (*DQN, "eval_envs=all"),
    (*DQN, "eval_envs=2.5"),
)
COMMANDS["evaluate"] = (
    *COMMANDS.get("evaluate", ()),
    "# Evaluations",
    ("run=SCALED",),
    ("run=RUN", "envs=0"),
    ("run=RUN", "envs=many"),
    ("run=RUN", "envs=20000"),
)
COMMANDS["resume"] = (*COMMANDS.get("resume", ()), ("run=SCALED", "total_frames=200"))
COMMANDS["play"] = (*COMMANDS.get("play", ()), (*DQN[1:], f"env.id={SCALED}:Paid-v0", "video=false"))


def scaled_runs(place: Path) -> None:
    """Make SCALED."""
    shutil.copytree(place / "RUN", place / "SCALED")
    config = place / "SCALED" / "config.yaml"
    before, text = "wrappers: []", config.read_text()
    assert before in text
    config.write_text(text.replace(before, "wrappers: ['gymnasium.wrappers:NormalizeObservation']"))
