"""Specs: frozen, checked settings that build one swappable part."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError, core_schema

from modules.metrics import Metric, place

if TYPE_CHECKING:  # for types alone: what a spec asks of the whole run, and nothing that runs
    from pipelines.config.schema import RunConfig
else:
    RunConfig = Any

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[float, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NUMBERS = ("int", "float")  # as pydantic calls their schemas
LIMIT = 2**63


class UsageError(ValueError):
    """Input that cannot work; its text is one sentence for the user: what, where, what is allowed."""


class Spec:
    """Base of all specs; `build(...)` of the subclass makes the part.

    `metrics` are the numbers that the part measures, beside those of the parts in it.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()

    def needs(self, run: RunConfig) -> Iterable[str]:
        """Yield one sentence for each relation to the rest of `run` that does not hold."""
        return ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check as pydantic does, except that a boolean is no number."""
        return without_booleans(handler(source))


def without_booleans(schema: Any) -> Any:
    """Let every number in a schema refuse booleans: Python takes true for 1, and `stop_at_score=true` for 1.0."""
    if isinstance(schema, list | tuple):
        return type(schema)(without_booleans(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "union":  # whose errors say which choice they belong to
        names = [part.get("type") if isinstance(part, dict) else None for part in schema["choices"]]
        choices = zip(map(without_booleans, schema["choices"]), names, strict=True)
        return schema | {"choices": [(part, name) if name in NUMBERS else part for part, name in choices]}
    schema = {name: without_booleans(part) for name, part in schema.items()}
    if schema.get("type") == "int":
        return core_schema.no_info_before_validator_function(refuse_beyond_64_bits, schema)  # pyright: ignore[reportArgumentType]
    if schema.get("type") in NUMBERS:
        return core_schema.no_info_before_validator_function(refuse_boolean, schema)  # pyright: ignore[reportArgumentType]
    return schema


def refuse_boolean(value: Any) -> Any:
    """Return `value` if it is no boolean."""
    if isinstance(value, bool):
        raise PydanticCustomError("boolean_number", "Input should be a number")
    return value


def refuse_beyond_64_bits(value: Any) -> Any:
    """Return `value` if it is no boolean, and not larger than what tensors and arrays count with."""
    if isinstance(value, int | float) and not -LIMIT <= value < LIMIT:
        raise PydanticCustomError("beyond_64_bits", "Input should be a number of 64 bits, from -2**63 to 2**63 - 1")
    return refuse_boolean(value)


def specs_in(spec: Spec) -> Iterator[Spec]:
    """Yield a spec and all specs in it, the outer ones first."""
    yield spec
    for field in fields(spec):  # pyright: ignore[reportArgumentType] - every spec is a dataclass
        value = getattr(spec, field.name)
        for child in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(child, Spec):
                yield from specs_in(child)


def collect_metrics(spec: Spec) -> dict[str, Metric]:
    """Collect the metrics of a spec and of all in it, as the tables have them; raises `UsageError` if two disagree."""
    found: dict[str, Metric] = {}
    for metric in (metric for part in specs_in(spec) for metric in part.metrics):
        if found.setdefault(metric.name, metric) != metric:
            raise UsageError(f"metric {metric.name}: two parts of this run declare it in different words")
    return {name: found[name] for name in sorted(found, key=place)}


SpecT = TypeVar("SpecT", bound=Spec)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def spec(cls: type[SpecT]) -> type[SpecT]:
    """Turn `cls` into a frozen, keyword-only dataclass that refuses unknown and ill-typed settings."""
    return dataclass(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))  # pyright: ignore[reportReturnType]


def sentences(error: ValidationError, kind: type) -> list[str]:
    """Say what pydantic found wrong with the settings of `kind`, one sentence each."""
    names = ", ".join(field.name for field in fields(kind))
    return [sentence(item, names) for item in without_alternatives(error.errors())]


def without_alternatives(errors: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Make one error of those that pydantic has for a setting of several types, one error for each type."""
    start = "Input should be "
    for loc, group in groupby(errors, lambda item: item["loc"][: -1 if names_a_type(item["loc"][-1]) else None]):
        items = [{**item, "loc": loc} for item in group]
        if len(items) > 1 and all(item["msg"].startswith(start) for item in items):
            yield {**items[0], "msg": start + " or ".join(item["msg"].removeprefix(start) for item in items)}
        else:
            yield from items


def names_a_type(part: int | str) -> bool:
    """Tell whether a part of pydantic's place of an error is no setting but one of the types that it may have."""
    return part in ("int", "float", "str", "bool") or "[" in str(part)


def sentence(error: Mapping[str, Any], names: str) -> str:
    """Say one pydantic error as: where, what is allowed (settings among `names`), what was given."""
    where = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in error["loc"]))
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"{where}: no such setting here; there are {names or 'none'}"
        case "missing_keyword_only_argument" | "missing" | "missing_argument":
            return f"{where}: this setting is missing"
        case "is_instance_of":
            return f"{where}: {type(error['input']).__name__} does not belong here; choose an option of this group"
        case "too_short":
            return f"{where}: needs at least {error['ctx']['min_length']}, not {error['input']!r}"
        case "too_long":
            return f"{where}: takes at most {error['ctx']['max_length']}, not {error['input']!r}"
    given = "null" if error["input"] is None else repr(error["input"])
    return f"{where}: {error['msg'].removeprefix('Value error, ').replace('Input', 'it')}, not {given}"
