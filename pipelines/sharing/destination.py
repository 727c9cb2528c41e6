"""Where a policy is shared to: a folder of this machine, or a model of the Hugging Face Hub."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from modules.files import make_folder, refuse_link, write_bytes
from modules.plots.curve import CURVE
from modules.spec import UsageError
from pipelines.agent.policy_card import FORMAT
from pipelines.agent.saved import CONFIG
from pipelines.sharing.hub import PREFIX, explaining, split

CARD, ABOUT, METRICS = "README.md", "recall.json", "metrics.csv"
FILM = "replay"  # the name under which the Hub looks for the film of an agent
NAMES = (CARD, ABOUT, CONFIG, METRICS, CURVE, "policy.onnx", f"{FILM}.mp4", f"{FILM}.gif")
WEIGHTS = "checkpoints/*.pt"


def destination(to: Path) -> tuple[str, str]:
    """Split `to` into its kind, `hub` or `folder`, and the place; raises `UsageError` if it is neither."""
    kind, _, place = str(to).partition(":")
    if kind not in ("hub", "folder") or not place:
        raise UsageError(f"to: it should be hub:USER/NAME or folder:PATH, not {str(to)!r}")
    if kind == "hub" and split(place)[1] is not None:
        raise UsageError(f"to: it should be hub:USER/NAME without a revision, not {str(to)!r}")
    return kind, place


def refuse_taken(names: Collection[str], where: str, *, overwrite: bool) -> None:
    """Raise `UsageError` if `where` holds `names` that are not to be replaced."""
    if names and ABOUT not in names:
        raise UsageError(f"to: {where} is there, and holds what `share` did not write: name another one")
    if names and not overwrite:
        raise UsageError(f"to: {where} holds a shared policy already: say overwrite=true to replace it")


def names_in(place: Path) -> set[str]:
    """Names of what lies in a folder, none if it is not there; raises `UsageError` if it is a link or no folder.

    A recall.json that is not of a shared policy does not count as one.
    """
    if not os.path.lexists(place):
        return set()
    refuse_link(place)
    if not place.is_dir():
        raise UsageError(f"to: {place} is no folder")
    names = set(os.listdir(place))
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        ours = isinstance(about, dict) and about.get("format") == FORMAT
    except (OSError, ValueError, RecursionError):
        ours = False
    return names if ours else {f"./{name}" if name == ABOUT else name for name in names}


def put(made: Path, place: Path) -> None:
    """Move what was `made` into `place`, in the place of what is left there of another shared policy."""
    make_folder(place)
    make_folder(place / "checkpoints")
    files = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    measured = place.glob("evaluation*.json")  # of the weights that go, by `evaluate`
    old = [*map(Path, NAMES), *(path.relative_to(place) for path in (*place.glob(WEIGHTS), *measured))]
    for name in old:
        if name not in files:
            (place / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == Path(CARD)):  # last: whoever sees it sees all
        write_bytes(place / name, (made / name).read_bytes())


def ready(repo: str, *, private: bool, overwrite: bool) -> Any:
    """Make what uploads to `repo`, which may exist; raises `UsageError` if that cannot work."""
    where = f"{PREFIX}{repo}"
    with explaining(where):
        from huggingface_hub import HfApi, get_token  # pyright: ignore[reportMissingImports] - if it is there

        if not get_token():
            raise UsageError(f"to={where} needs a token of the Hub that may write: `hf auth login`, or HF_TOKEN")
        api = HfApi()
        if api.repo_exists(repo):
            names = set(api.list_repo_files(repo)) - {".gitattributes"}
            refuse_taken(names, where, overwrite=overwrite)
            if bool(api.repo_info(repo).private) != private:
                now = str(not private).lower()
                raise UsageError(f"private={str(private).lower()}: {where} is there with private={now}, as it stays")
    return api


def upload(api: Any, repo: str, folder: Path, *, private: bool, message: str) -> str:
    """Upload a folder as the model `repo`, in the place of what is there; return its address."""
    with explaining(f"{PREFIX}{repo}"):
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message, delete_patterns=[*NAMES, WEIGHTS])
    return str(url)
