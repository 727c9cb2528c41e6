"""What a mistyped command line may have meant: settings, options and experiments that there are."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from modules.spec import UsageError

CONF = str(Path(__file__).resolve().parents[1] / "conf")
OVER_ALL = ("exp", "debug", "sweep")  # groups without a default: their options are added with +
OPEN = "env.kwargs."  # the settings beneath are whatever an environment's constructor takes


def options(group: str = "") -> list[tuple[str, str]]:
    """List every (group, option), or those of one group, off the folders."""
    files = sorted(Path(CONF).joinpath(group).glob("*.yaml" if group else "**/*.yaml"))
    found = [(str(path.parent.relative_to(CONF)), path.stem) for path in files]
    return [item for item in found if item[0] != "."]


def word(group: str, option: str) -> str:
    """Write an option as it is chosen on the command line."""
    return f"{'+' * (group in OVER_ALL)}{group}={option}"


def opened(words: Sequence[str]) -> list[str]:
    """Let the settings of an environment's constructor be given as all others are, where Hydra asks for a +."""
    return [f"++{given}" if given.startswith(OPEN) else given for given in words]


def refuse_flags(words: Sequence[str]) -> None:
    """Raise `UsageError` for a flag that is not exactly one of Hydra's, which would take `--exp` for a longer one."""
    known = get_args_parser()._option_string_actions
    for i, given in enumerate(words):
        flag, equals, value = given.partition("=")
        if not given.startswith("-") or flag in known:
            continue
        name, after = flag.lstrip("-"), "".join(words[i + 1 : i + 2])
        value = value if equals else "VALUE" if "=" in after or after.startswith("-") else after or "VALUE"
        raise UsageError(f"{flag}: no such option; say {word(name, value)}, or --help")


def refuse_bare_words(words: Sequence[str]) -> None:
    """Raise `UsageError` for a word without `=`, with the options of that name."""
    for given in words:
        if "=" not in given and not given.startswith("~"):
            near = [word(group, option) for group, option in options() if option == given]
            raise UsageError(f"{given}: not of the form setting=value" + did_you_mean(near))


def did_you_mean(near: Sequence[str]) -> str:
    """Ask, if there is something to ask."""
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def unknown_option(text: str) -> str:
    """Say which options there are, if `text` is Hydra's complaint about one that does not exist; else nothing."""
    found = re.search(r"Could not find '([\w/]+)/([^/']+)'\s*Available options in '\1'", text)
    if not found:
        return ""
    group, given = found.groups()
    names = [option for _, option in options(group)]
    near = [word(group, name) for name in difflib.get_close_matches(given, names, n=2)]
    return f"{word(group, given)}: no such option{did_you_mean(near) or '; there are ' + ', '.join(names)}"


def unknown_setting(text: str, overrides: Sequence[str]) -> str:
    """Say which settings there are, if `text` is Hydra's complaint about one that does not exist; else nothing."""
    found = re.search(r"Could not override '([\w.]+)'[\s\S]*is not in struct", text)
    if not found:
        return ""
    name = found[1]
    given = [item.partition("=")[2] for item in overrides if item.startswith(f"{name}=")]
    rest = [item for item in overrides if not item.lstrip("+~").startswith(f"{name}=")]
    try:
        names = list(flat_names(OmegaConf.to_container(compose("config", rest))))
    except (HydraException, OmegaConfBaseException):
        return ""  # there is more than one mistake; Hydra's own words will do
    parent, _, leaf = name.rpartition(".")
    if owners := [word(group, option) for group, option in options(parent.replace(".", "/")) if parent
                  if leaf in settings(group, option)]:  # fmt: skip
        return f"{name}: no such setting here; {' and '.join(owners)} {'have' if len(owners) > 1 else 'has'} it"
    near = [word(group, option) for group, option in options() if [option] == given and not parent and option != "none"]
    near += [other for other in names if other.rpartition(".")[2] == leaf]
    near += difflib.get_close_matches(name, names, n=2)
    if near:
        return f"{name}: no such setting{did_you_mean(near)}"
    beside = ", ".join(other for other in names if other.rpartition(".")[0] == parent)
    groups = "" if parent else f", and the groups {', '.join(dict.fromkeys(group for group, _ in options()))}"
    return f"{name}: no such setting; there are {beside}{groups}"


def settings(group: str, option: str) -> list[str]:
    """Names of the settings that an option's own file gives."""
    content = OmegaConf.load(Path(CONF, group, f"{option}.yaml"))
    return [str(name) for name in content] if isinstance(content, DictConfig) else []


def flat_names(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings in a composed configuration."""
    if not isinstance(node, dict):
        yield prefix
        return
    for key, value in node.items():
        if key != "_target_":
            yield from flat_names(value, f"{prefix}.{key}".lstrip("."))
