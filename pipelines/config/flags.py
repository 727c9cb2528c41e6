"""Hydra's flags on the command line: those that mean something here, wherever they stand between the settings."""

from argparse import Action
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser

from modules.spec import UsageError
from pipelines.config.hints import OVER_ALL, word

SWEEP, RUN, SHOW = "--multirun", "--run", "--cfg"
COMPOSING = {SHOW, "--info", "--help"}  # flags with which Hydra reads the settings, and trains nothing
ALONE = (RUN, SWEEP, SHOW, "--info", "--shell-completion")  # Hydra takes one of them
BESIDE = {"--resolve": (SHOW, "--help"), "--package": (SHOW,)}  # flag → those that it belongs to
FOREIGN = {  # flag → why it means nothing here
    "--config-name": "there is one configuration; choose a preset by +exp=NAME",
    "--config-path": "there is one configuration; add a folder of yours by --config-dir=FOLDER",
    "--experimental-rerun": "continue a run by `python -m pipelines.resume run=DIR`",
}
SHELL = ("install", "uninstall", "query")  # what --shell-completion does, of a shell each


def arrange_flags(words: Sequence[str]) -> list[str]:
    """Put flags, each in its long form and with its value, before all settings: Hydra takes none between them.

    Raises:
        UsageError: a flag that is not exactly one of Hydra's, means nothing here, or lacks what belongs to it.
    """
    flags: dict[str, str] = {}
    settings, rest = [], list(words)
    while rest:
        given = rest.pop(0)
        if is_setting(given):
            settings.append(given.lstrip("-"))
        elif given.startswith("-"):
            name, value = read_flag(given, rest)
            flags[name] = value
        else:
            settings.append(given)
    refuse_lonely(flags, settings)
    flags.pop(RUN, None)  # what is done without it as well
    return [*(f"{name}={value}" if value else name for name, value in flags.items()), *settings]


def is_setting(given: str) -> bool:
    """Tell whether a word is a setting as the agent of `wandb sweep` writes it, `--optim.lr=0.1`, and no flag."""
    name, equals, _ = given.partition("=")
    known = name in get_args_parser()._option_string_actions
    return given.startswith("--") and bool(equals) and not known and name.lstrip("-") not in OVER_ALL


def read_flag(given: str, rest: list[str]) -> tuple[str, str]:
    """Read one flag, and its value off the `rest` if that is a word of its own; return the long form and the value."""
    known: Mapping[str, Action] = get_args_parser()._option_string_actions
    name, equals, value = given.partition("=")
    after = rest[0] if rest else ""
    if name not in known:
        value = value if equals else "VALUE" if "=" in after or after.startswith("-") else after or "VALUE"
        raise UsageError(f"{name}: no such option; say {word(name.lstrip('-'), value)}, or --help")
    action = known[name]
    name = max(action.option_strings, key=len)
    if name in FOREIGN:
        raise UsageError(f"{name}: {FOREIGN[name]}")
    if action.nargs == 0:
        if equals:
            raise UsageError(f"{given}: {name} takes no value")
        return name, ""
    choices = tuple(map(str, action.choices or ()))
    if not equals and after and not after.startswith("-") and (after in choices or "=" not in after):
        value = rest.pop(0)
    if action.nargs == "?" and not value:
        value = str(action.const)
    if not value or (choices and value not in choices):
        wanted = " or ".join(f"{name}={choice}" for choice in choices) or f"{name}=VALUE"
        raise UsageError(f"{name}: say {wanted}" + (f", not {value}" if value else ""))
    if name == "--config-dir" and not Path(value).is_dir():
        raise UsageError(f"{name}: {value} is no folder")
    return name, value


def refuse_lonely(flags: Mapping[str, str], settings: Sequence[str]) -> None:
    """Raise `UsageError` for flags that exclude each other, or that belong to one that is not there."""
    if len(both := [name for name in ALONE if name in flags]) > 1:
        raise UsageError(f"{both[0]} and {both[1]} do not go together: leave one out")
    for name, owners in BESIDE.items():
        if name in flags and flags.keys().isdisjoint(owners):
            raise UsageError(f"{name}: it belongs to {' or '.join(owners)}, as in {SHOW}=job {name}")
    if "--shell-completion" in flags and not any(given.partition("=")[0] in SHELL for given in settings):
        raise UsageError(
            f"--shell-completion: say what to do for which shell, {' or '.join(SHELL)}, as in install=bash"
        )
