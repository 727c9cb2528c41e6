"""Specs: frozen, checked settings that build one swappable part."""

from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


class UsageError(ValueError):
    """Input that cannot work; its text is one sentence for the user: what, where, what is allowed."""


class Spec:
    """Base of all specs; `build(...)` of the subclass makes the part."""

    def needs(self, run: Any) -> Iterable[str]:
        """Yield one sentence for each relation to the rest of `run` that does not hold."""
        del run
        return ()


SpecT = TypeVar("SpecT", bound=Spec)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def spec(cls: type[SpecT]) -> type[SpecT]:
    """Turn `cls` into a frozen, keyword-only dataclass that refuses unknown and ill-typed settings."""
    return dataclass(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))  # pyright: ignore[reportReturnType]
