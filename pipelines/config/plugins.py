"""What a run's configuration may have imported and built: parts of ours and of the user (docs/run_folders.md)."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Annotated, Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError

from modules.envs.wrappers import import_or_refuse
from modules.spec import Spec, UsageError, sentences
from pipelines.config.foreign import MODULE, below, foreign, is_program

OURS = ("modules", "pipelines")
Plugins = tuple[Annotated[str, Field(pattern=f"^{MODULE}$")], ...]
MAX_BYTES, MAX_NODES = 2**20, 20_000  # of a YAML file, and of what it stands for; ours have 4 kB and 200 values
# Only what the environment holds may be looked up by a run's own file; all else is written out when the run begins.
LOOKUP = re.compile(r"\$\{oc\.(env:[^${}]*|decode:\$\{oc\.env:[^${}]*\})\}")


def read_yaml(path: Path) -> DictConfig:
    """Read a YAML file that may come from anywhere.

    Raises:
        UsageError: it is no YAML, no mapping, or stands for more than it should.
    """
    try:
        config = OmegaConf.create(load_bounded(path))
    except UsageError:
        raise
    except Exception as error:  # YAML's reader, OmegaConf, the file system, or a recursion that is too deep
        text = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{path}: not readable as YAML ({text})") from error
    if not isinstance(config, DictConfig):
        raise UsageError(f"{path}: not the configuration of a run")
    return config


def load_bounded(path: Path) -> str:
    """Read the text of a YAML file; raises `UsageError` if it is too long, or stands for too much."""
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES} bytes, so it is no configuration")
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None and count_values(node, {}) > MAX_NODES:
        raise UsageError(f"{path}: its aliases stand for more than {MAX_NODES} values, so it is no configuration")
    return text


def refuse_endless(words: Sequence[str]) -> None:
    """Raise `UsageError` if a folder that `--config-dir` names, which Hydra will read, has a file like that."""
    for word, after in zip(words, [*words, ""][1:], strict=True):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            for path in sorted(Path(value or after).rglob("*.yaml")):
                with contextlib.suppress(yaml.YAMLError, RecursionError, OSError, UnicodeDecodeError):  # Hydra's to say
                    load_bounded(path)


def values_of(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, with its references as they stand there."""
    values = OmegaConf.to_container(config)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def count_values(node: yaml.Node, known: dict[int, float]) -> float:
    """Count the values that `node` stands for, with all that its aliases repeat; one inside itself has no end."""
    if id(node) not in known:
        known[id(node)] = float("inf")  # until it is known: an alias to what it is in
        items = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(count_values(part, known) for part in parts)
    return known[id(node)]


def strings(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a nested configuration, with its dotted name."""
    if isinstance(node, str):
        yield path, node
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from strings(value, f"{path}.{key}".lstrip("."))


def refuse_lookups(config: Mapping[str, Any], path: Path) -> None:
    """Raise `UsageError` for a `${…}` that no run leaves in its config.yaml, since it may expand to much."""
    for name, text in strings(dict(config)):
        if "${" in LOOKUP.sub("", text):
            raise UsageError(f"{path}: {name} has a reference, {text[:80]!r}: write the value itself")


def with_plugins(config: Mapping[str, Any], run_dir: Path, plugins: Sequence[str]) -> dict[str, Any]:
    """Put in the `plugins` that the user named for a run whose own `config` may ask for some; ask back if need be.

    What a reference stands for is judged, like what is written out.
    """
    plain = resolve_references(OmegaConf.create(dict(config)), run_dir / "config.yaml")
    asked = plain.get("plugins", [])
    asked = [str(name) for name in asked] if isinstance(asked, list) else [str(asked)]
    if missing := [name for name in asked if name not in plugins]:
        raise UsageError(
            f"{run_dir}: its config.yaml asks to import {' and '.join(missing)}, which is not ours: if you know "
            f"what is in there, add plugins=[{','.join([*plugins, *missing])}]"
        )
    for setting, module in environment_modules(plain.get("env")):
        known = any(below(module, name) for name in plugins)
        known |= any(below(module, name) for name in OURS) and not is_program(module)
        if not known and (why := foreign(module, run_dir)):
            raise UsageError(
                f"{run_dir}: {setting} in its config.yaml asks to import {module}, {why}: if you know what is in "
                f"there, add plugins=[{','.join([*plugins, module])}]"
            )
    return {**config, "plugins": list(plugins)}


def resolve_references(config: DictConfig, where: Path | str, *, complete: bool = False) -> dict[str, Any]:
    """The values of a configuration, with what its references stand for.

    Raises:
        UsageError: one stands for nothing or, if it must be `complete`, a value is missing; begins with `where`.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=complete)
    except OmegaConfBaseException as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{where}: {first}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def environment_modules(env: Any) -> Iterator[tuple[str, str]]:
    """Yield the modules that an environment's settings name, each with the setting."""
    env = env if isinstance(env, dict) else {}
    if isinstance(env_id := env.get("id"), str) and ":" in env_id:
        yield "env.id", env_id.rpartition(":")[0]
    for where, name in strings(env.get("wrappers")):  # wherever they stand: that it should be a list will be said later
        *_, key = where.split(".")
        if key == "name" or key.isdigit() or not key or ":" in name:  # else an argument of a wrapper
            yield "env.wrappers", name.partition(":")[0]


def import_plugins(plugins: Sequence[str]) -> None:
    """Import what the user has named; raises `UsageError` for what is not there."""
    for name in plugins:
        import_or_refuse(name, "plugins")


def refused_target(target: str, plugins: Sequence[str]) -> str:
    """Say why a `_target_` must not be imported; "" if it may."""
    module = target.rpartition(".")[0]
    if not re.fullmatch(MODULE, target) or "__" in target or not module:
        return f"{target!r} is no spec of this program; take an option of the group"
    if any(below(module, name) for name in (*OURS, *plugins)):
        return ""
    return f"{target!r} is no spec of this program; take an option of the group, or plugins=[{module}] if it is yours"


def make(node: Any, path: str, problems: list[str], plugins: Sequence[str]) -> Any:
    """Build the spec that `node` describes, children first; append to `problems` instead of raising.

    Only parts of ours and those in `plugins` are imported.
    """
    if isinstance(node, list):
        return [make(item, f"{path}[{i}]", problems, plugins) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    found = len(problems)
    values = {key: make(value, f"{path}.{key}".lstrip("."), problems, plugins) for key, value in node.items()}
    if "_target_" not in values or len(problems) > found:
        return values
    target = str(values.pop("_target_"))
    where = f"{path}." if path else ""
    if refused := refused_target(target, plugins):
        problems.append(f"{where}_target_: {refused}")
        return values
    try:
        kind = locate(target)
    except ErrorDuringImport as error:
        problems.append(f"{where}_target_: {' '.join(str(error).split())}")
        return values
    if not (isinstance(kind, type) and issubclass(kind, Spec)):
        problems.append(f"{where}_target_: {target!r} is no spec of this program; take an option of the group")
        return values
    try:
        return kind(**values)
    except ValidationError as error:
        problems += [where + text for text in sentences(error, kind)]
        return values
