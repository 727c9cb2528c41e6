"""Policies on the Hugging Face Hub: `hub:USER/NAME`, or `hub:USER/NAME@REVISION`; needs the extra hub."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf

from modules.spec import UsageError
from pipelines.agent.saved import CONFIG
from pipelines.config.foreign import below
from pipelines.config.plugins import OURS, environment_modules, read_yaml, refuse_lookups, resolve_references, values_of

PREFIX = "hub:"
NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
READ = [CONFIG, "checkpoints/*.pt"]  # nothing else is downloaded
SUITES = ("gymnasium", "ale_py", "minigrid", "popgym", "minatar")  # whose modules a stranger's settings may name
WRITING = ("RecordVideo",)  # wrappers of theirs that write files where they are told to


def is_hub(run: Path) -> bool:
    """Tell whether a run is one of the Hub."""
    return str(run).startswith(PREFIX)


def find_run(run: Path, plugins: Sequence[str]) -> Path:
    """Find the folder of a run; one of the Hub is downloaded into the Hub's cache, if it is not there.

    Raises:
        UsageError: the extra is missing, the Hub has no such policy or cannot be reached, or its settings would have a
            module imported that is neither ours, nor a suite's, nor one of the `plugins`.
    """
    if not is_hub(run):
        return run
    repo, revision = split(str(run).removeprefix(PREFIX))
    with explaining(f"{run}"):
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports] - if it is there

        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=READ))
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{run}: no policy of Recall's is there (it has no config.yaml)")
    refuse_modules(folder / CONFIG, str(run), plugins)
    return folder


def split(name: str) -> tuple[str, str | None]:
    """Split a name into that of the model and its revision; raises `UsageError` if it is none."""
    found = NAME.fullmatch(name)
    if found is None:
        raise UsageError(f"{PREFIX}{name}: a policy of the Hub is {PREFIX}USER/NAME, or {PREFIX}USER/NAME@REVISION")
    return found["repo"], found["revision"]


def refuse_modules(path: Path, name: str, plugins: Sequence[str]) -> None:
    """Raise `UsageError` if the settings of a stranger would have more imported than ours and the suites.

    What a folder on this machine may name (docs/run_folders.md) is more: modules of one's own.
    """
    config = values_of(read_yaml(path))
    refuse_lookups(config, path)
    env = resolve_references(OmegaConf.create(config), path).get("env")
    for setting, module in environment_modules(env):
        if not any(below(module, known) for known in (*OURS, *SUITES, *plugins)):
            raise UsageError(
                f"{name}: {setting} in its config.yaml asks to import {module}, which is neither Recall's nor of "
                f"{', '.join(SUITES)}: if you know what is in there, add plugins=[{','.join([*plugins, module])}]"
            )
    if any(kind in str(env) for kind in WRITING):
        raise UsageError(f"{name}: its config.yaml names a wrapper that writes files, {' or '.join(WRITING)}")


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Turn what the Hub, its library and the network say into one sentence that begins with `name`."""
    try:
        from huggingface_hub.errors import (  # pyright: ignore[reportMissingImports] - if it is there
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        how = "`pip install -c constraints.txt -e '.[hub]'`"
        raise UsageError(f"{name}: this needs the package huggingface-hub: install it with {how}") from error
    try:
        yield
    except UsageError:
        raise
    except RepositoryNotFoundError:
        raise UsageError(f"{name}: the Hub has no such model, or shows it only with another token (HF_TOKEN)") from None
    except LocalEntryNotFoundError:
        raise UsageError(f"{name}: it is not in the Hub's cache, and the Hub cannot be reached from here") from None
    except Exception as error:  # the network has many ways to fail, and the library a class for each
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"{name}: the Hub does not do it: {text}") from None
