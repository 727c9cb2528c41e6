"""`setting=value` arguments of the entry points that need no composition (evaluate, export, resume)."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from omegaconf import OmegaConf
from pydantic import ValidationError

from modules.spec import Spec, UsageError, sentences
from pipelines.console.output import quote_path

SpecT = TypeVar("SpecT", bound=Spec)


def parse(kind: type[SpecT], defaults: Mapping[str, Any], arguments: Sequence[str], usage: str) -> SpecT:
    """Read `setting=value` words over `defaults` into a spec; `--help` writes `usage` and ends.

    Raises:
        UsageError: a word that is no setting, or a value that is not allowed.
    """
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    # Paths, where YAML would make 8 of a folder `010`, and one of several words.
    literal = {name for name, hint in get_type_hints(kind).items() if hint is Path or get_origin(hint) is Literal}
    return check_settings(kind, {**defaults, **parse_words(arguments, names, literal, usage)})


def parse_words(
    arguments: Sequence[str], names: Collection[str], literal: Collection[str], usage: str
) -> dict[str, Any]:
    """Read `setting=value` words: what is `literal` of `names` as it stands, all else as YAML; see `parse`."""
    if any(word in ("-h", "--help") for word in arguments):
        sys.stdout.write(usage + "\n")
        raise SystemExit(0)
    values: dict[str, Any] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if not equals:
            meant = f"say run={quote_path(word)}" if os.path.exists(word) else f"settings are {', '.join(names)}"
            raise UsageError(f"{word}: not of the form setting=value; {meant}")
        if name in literal and not text:  # most often a variable of the shell that is not set
            raise UsageError(f"{name}: the value is empty; say {name}=…")
        values[name] = text if name in literal else from_yaml(word, text)
    return values


def from_yaml(word: str, text: str) -> Any:
    """Read the value `text` of `word`."""
    try:
        read: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        return read["value"]
    except Exception as error:  # whatever the reader of YAML stumbles over
        raise UsageError(f"{word}: the value is not readable as YAML") from error


def folder(text: str | os.PathLike[str], name: str = "folder") -> Path:
    """Make a path of what was given as `name`; an empty one, which would be the current folder, is a `UsageError`."""
    if not os.fspath(text):
        raise UsageError(f"{name}: the path is empty; a dot is the current folder")
    return Path(text)


def check_settings(kind: type[SpecT], values: Mapping[str, Any]) -> SpecT:
    """Make a spec of `values`; raises `UsageError` for one that is not allowed."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError("; ".join(sentences(error, kind))) from error
