"""Play in the terminal: `python -m pipelines.play env=tour env.task=ruin_2swamp [setting=value …]`."""

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence

import torch

from modules import keys
from modules.envs.base import EnvSpec
from modules.seeding import seed_everything, seed_for
from modules.spec import UsageError
from pipelines.config.check import read_environment
from pipelines.console.command import command
from pipelines.console.output import while_read, write
from pipelines.console.terminal import Screen, Stage, key_presses

QUIT = "q"
WITH_TEXT = (
    *("tour", "corridor", "memory_len", "passive_tmaze", "repeat_previous", "shower"),
    *("goal_corridor", "deep_sea", "random_coin", "discounting_chain"),
)
USAGE = f"""python -m pipelines.play env=tour env.task=ruin_2swamp [setting=value ...]
  env=NAME      an environment with a text view (required): {", ".join(WITH_TEXT)};
                or env=gym with the id of one that renders ansi: env=gym env.id=Taxi-v4
  env.NAME=...  its settings, as for pipelines.train; so are all others, e.g. +exp=tour env.layout=uniform
  seed=0        of the episodes
Keys are named below the first frame; q quits. Without a terminal, the characters of standard input are the keys."""


def stage_for(overrides: Sequence[str]) -> tuple[EnvSpec, dict[str, int], Stage]:
    """Make the environment that `overrides` describe, with its keys; raises `UsageError` if nobody can play it."""
    if flags := [word for word in overrides if word.startswith("-")]:
        raise UsageError(f"{flags[0]}: no such option; say setting=value, or --help")
    run = read_environment(overrides)
    seed_everything(run.seed)
    keys_of_actions = run.env.keys()  # first: it may make an environment, and there may not be another beside it
    stage = Stage(run.env, (), seed=seed_for(run.seed, "play"))
    try:
        stage.text()
    except UsageError as error:
        stage.close()
        raise UsageError(
            f"env: this environment has no text view; say which to play: env={', env='.join(WITH_TEXT)}, or env=gym "
            "with the id of one that renders ansi"
        ) from error
    return run.env, keys_of_actions, stage


def play(spec: EnvSpec, actions: Mapping[str, int], stage: Stage, pressed: Iterable[str], screen: Screen) -> None:
    """Let `pressed` keys act as `actions` has it, episode after episode, until q or their end."""
    words = [f"{key} {spec.actions[action]}" if spec.actions else key for key, action in actions.items()]
    hint = f"{', '.join(words)}; {QUIT} quits"
    screen.show(f"{stage.text()}\n{hint}")
    for key in map(str.lower, pressed):
        below = hint
        if key == QUIT:
            return
        if stage.over:
            stage.restart()
        elif key in actions:
            stage.act(stage.now.set(keys.ACTION, torch.tensor([actions[key]])))
            below = f"any key starts the next episode, {QUIT} quits" if stage.over else hint
        else:
            below = f"{key!r} does nothing; {hint}"
        screen.show(f"{stage.text()}\n{below}")


def main(arguments: Sequence[str]) -> int:
    """Play until the user has had enough."""
    if any(word in ("-h", "--help") for word in arguments):
        write(USAGE + "\n")
        return 0
    with command():
        spec, actions, stage = stage_for(arguments)
    with command(), contextlib.closing(stage), key_presses(sys.stdin) as pressed, while_read():
        play(spec, actions, stage, pressed, Screen(sys.stdout))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
