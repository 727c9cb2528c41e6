"""Every setting with its type, range and meaning: `python -m pipelines.config.settings_page > docs/settings.md`."""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from inspect import cleandoc
from pathlib import Path
from pydoc import locate
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter

from modules.spec import Spec
from pipelines.config.hints import CONF, OVER_ALL, content, options
from pipelines.config.schema import RunConfig
from pipelines.console.command import command
from pipelines.console.output import write

SEVERAL = "callbacks"  # a group whose options have several parts
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
HEAD = """# Settings

Generated from the specs with `python -m pipelines.config.settings_page > docs/settings.md`; do not edit. The values
are in `conf/`; `python -m pipelines.train +exp=NAME --help` shows those of a preset. An option is chosen by
`group=option`, a setting of it by `group.setting=value`, dots for slashes:
`network/memory=gru network.memory.hidden_size=64`."""


def page() -> str:
    """Write the page."""
    kinds: dict[tuple[str, type[Spec]], list[str]] = {}
    for group, option in options():
        if group not in (*OVER_ALL, "algo", SEVERAL):
            kinds.setdefault((group, kind_of(group, option)), []).append(option)
    groups = {kind for _, kind in kinds}
    parts = [HEAD, *section("The top level", RunConfig, {}, groups)]
    for (group, kind), names in kinds.items():
        comments = {key: text for name in names for key, text in read_comments(group, name).items()}
        parts += section(" or ".join(f"`{group}={name}`" for name in names), kind, comments, groups)
    for group, option in options(SEVERAL):
        for name, node in content(group, option).items():
            parts += section(f"`{group}.{name}`", locate_spec(node["_target_"]), {}, groups)
    return "\n\n".join(parts) + "\n"


def locate_spec(target: str) -> type[Spec]:
    """Find a spec by its name."""
    kind = locate(target)
    assert isinstance(kind, type)
    assert issubclass(kind, Spec)
    return kind


def kind_of(group: str, option: str) -> type[Spec]:
    """Find the spec that an option makes, by its own file or the one that it starts from."""
    return locate_spec(content(group, option)["_target_"])


def read_comments(group: str, option: str) -> dict[str, str]:
    """Read what the comments in an option's file say of its settings, the unit mostly."""
    lines = Path(CONF, group, f"{option}.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):[^#\n]*# (.+)$", lines, re.MULTILINE))


def section(title: str, kind: type[Spec], comments: Mapping[str, str], groups: Set[type[Spec]]) -> Iterator[str]:
    """Say what `kind` is, and one line per setting, also of specs in it that are none of `groups`.

    `comments` count where its docstring says nothing.
    """
    yield f"## {title}"
    yield (kind.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")
    if found := [*rows(kind, comments, groups)]:
        yield "\n".join(["| setting | allowed | meaning |", "|---|---|---|", *found])


def rows(kind: type[Spec], comments: Mapping[str, str], groups: Set[type[Spec]], within: str = "") -> Iterator[str]:
    """Say one line per setting; names begin with `within`."""
    known, hints = {**comments, **meanings(kind)}, get_type_hints(kind, include_extras=True)
    for field in fields(kind):  # pyright: ignore[reportArgumentType]
        inner: Any = getattr(hints[field.name], "__origin__", None)
        has_settings = isinstance(inner, type) and issubclass(inner, Spec) and is_dataclass(inner)
        if has_settings and not any(issubclass(group, inner) for group in groups):
            yield from rows(inner, {}, groups, f"{within}{field.name}.")
        elif words := describe_type(hints[field.name]):
            yield f"| `{within}{field.name}` | {words} | {known.get(field.name, '')} |"


def meanings(kind: type[Spec]) -> dict[str, str]:
    """Read the attributes off the docstrings of `kind`, its bases and the rules that its settings replace."""
    found: dict[str, str] = {}
    for base in (getattr(kind, "replaces", None) or object, *reversed(kind.__mro__)):
        _, _, listed = cleandoc(base.__dict__.get("__doc__") or "").partition("Attributes:\n")
        block = re.split(r"\n(?=\S)", listed)[0]
        items = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", block, re.MULTILINE)
        found |= {name: " ".join(text.split()).replace("|", "\\|") for name, text in items}
    return found


def describe_type(hint: Any) -> str:
    """Say in words what a setting may be; nothing for a group, which has a section of its own."""
    try:
        schema = TypeAdapter(hint).json_schema()
    except PydanticUserError:  # a group of several specs
        return ""
    return "" if "properties" in schema else describe_schema(schema)


def describe_schema(schema: Mapping[str, Any]) -> str:
    """Put a JSON schema into words."""
    if "anyOf" in schema:
        return " or ".join(map(describe_schema, schema["anyOf"]))
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{choice}`" for choice in choices)
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(map(describe_schema, schema['prefixItems']))}]"
        return f"list of {describe_schema(schema.get('items', {}))}"
    limits = [f"{sign} {schema[name]:g}" for name, sign in LIMITS.items() if name in schema]
    name = schema.get("type", "any")
    return " ".join(["names and values" if name == "object" else name, *limits])


if __name__ == "__main__":
    with command():
        write(page())
