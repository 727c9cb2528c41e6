"""The command that trains with the settings that a run had."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from modules.loggers.base import dotted
from modules.spec import UsageError
from pipelines.config.composing import compose_settings
from pipelines.config.hints import OVER_ALL, options
from pipelines.training.session import config_of

ASIDE = ("callbacks", "dry", "logger", "plugins", "resume")  # what does not change what is learned, or is said apart
PLAIN = re.compile(r"[A-Za-z][\w./-]*")
WORDS = ("true", "false", "null", "nan", "inf", "yes", "no", "on", "off", "y", "n")  # which YAML reads otherwise


def training_command(config: Mapping[str, Any]) -> str:
    """Say what to type to train with the settings in `config`, as a run stores them; "" if no preset leads there."""
    exp = str(config.get("name"))
    if ("exp", exp) not in options("exp"):
        return ""
    wanted, words = leaves(config), [f"+exp={exp}"]
    try:
        found = leaves(settings_of(words))
        for group, node in groups_in(config):
            target = f"{group.replace('/', '.')}._target_"
            if found.get(target) != node["_target_"]:
                choices = [f"{group}={option}" for _, option in options(group)]
                composed = {word: leaves(settings_of([*words, word])) for word in choices}
                words.append(min(choices, key=lambda word: len(changes(composed[word], wanted))))
                found = composed[words[-1]]
        words += changes(found, wanted)
        if leaves(settings_of(words)) != wanted:
            return ""
    except UsageError:  # settings that cannot be written as words
        return ""
    plugins = [f"plugins=[{','.join(config['plugins'])}]"] if config.get("plugins") else []
    return " ".join(["python -m pipelines.train", *map(shlex.quote, [*words, *plugins])])


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """Compose settings, as plain values."""
    return config_of(compose_settings(words)[0])


def groups_in(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """List the groups of conf/ of which `config` has an option, outer ones first, with what it has there."""
    found = []
    for group in sorted({group for group, _ in options()} - {*OVER_ALL, *ASIDE}, key=lambda name: name.count("/")):
        node: Any = config
        for part in group.split("/"):
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and "_target_" in node:
            found.append((group, node))
    return found


def leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name every value of a configuration, but for those that are aside."""
    return dict(dotted({name: node for name, node in config.items() if name not in ASIDE}))


def changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Write the words that lead from `found` to `wanted`."""
    more = [f"{'' if name in found else '+'}{name}={literal(value)}" for name, value in wanted.items()
            if name not in found or found[name] != value]  # fmt: skip
    return more + [f"~{name}" for name in found if name not in wanted]


def literal(value: Any) -> str:
    """Write a value as Hydra reads it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            plain = PLAIN.fullmatch(value) and value.lower() not in WORDS
            return value if plain or "${" in value else "'" + value.replace("'", r"\'") + "'"
        case list():
            return f"[{','.join(map(literal, value))}]"
        case Mapping():
            return "{" + ",".join(f"{name}:{literal(part)}" for name, part in value.items()) + "}"
    return str(value)
