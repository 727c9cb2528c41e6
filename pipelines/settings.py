"""`setting=value` arguments of the entry points that need no composition (evaluate, export, resume)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from pydantic import ValidationError

from modules.spec import Spec, UsageError, sentences

SpecT = TypeVar("SpecT", bound=Spec)


def parse(kind: type[SpecT], defaults: Mapping[str, Any], arguments: Sequence[str], usage: str) -> SpecT:
    """Read `setting=value` words over `defaults` into a spec; `--help` writes `usage` and ends.

    Raises:
        UsageError: a word that is no setting, or a value that is not allowed.
    """
    if any(word in ("-h", "--help") for word in arguments):
        sys.stdout.write(usage + "\n")
        raise SystemExit(0)
    names = ", ".join(field.name for field in fields(kind))  # pyright: ignore[reportArgumentType]
    for word in arguments:
        if "=" not in word:
            meant = f"say run={word}" if Path(word).exists() else f"settings are {names}"
            raise UsageError(f"{word}: not of the form setting=value; {meant}")
        try:
            OmegaConf.from_dotlist([word])
        except Exception as error:  # whatever the reader of YAML stumbles over
            raise UsageError(f"{word}: the value is not readable as YAML") from error
    given = OmegaConf.to_container(OmegaConf.from_dotlist(list(arguments)))
    assert isinstance(given, dict)
    return checked(kind, {**defaults, **{str(key): value for key, value in given.items()}})


def checked(kind: type[SpecT], values: Mapping[str, Any]) -> SpecT:
    """Make a spec of `values`; raises `UsageError` for one that is not allowed."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError("; ".join(sentences(error, kind))) from error
