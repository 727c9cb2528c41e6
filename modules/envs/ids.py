"""Ids of environments: what registers them, and what to type for those that nothing has registered."""

import difflib
import importlib
import re

import gymnasium

from modules.envs.wrappers import import_or_refuse
from modules.spec import UsageError

EXTRAS = {  # how ids begin → the package, and extra, that registers them
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
    "popgym-": "popgym",
    "MinAtar/": "minatar",
}
ELSEWHERE = (  # ids that nobody has registered → what to type
    (r"ALE/.*", r"Atari games are env=atari env.id=\g<0>, or without pre-processing env=gym env.id=ale_py:\g<0>"),
    (r"([A-Z]\w*?)(NoFrameskip|Deterministic|-ram).*", r"Atari games are env=atari env.id=ALE/\1-v5"),
)


def check_id(env_id: str) -> None:
    """Raise `UsageError` if Gymnasium does not know `env_id`."""
    module, colon, name = env_id.rpartition(":")
    for start, package in EXTRAS.items():
        if name.startswith(start):
            import_extra(package, package, f"env.id: {name}")
    if module:  # registers what it defines, as gymnasium.make would have it do
        import_or_refuse(module, "env.id")
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        near = difflib.get_close_matches(name, list(gymnasium.registry), n=3)
        hint = f"; did you mean {' or '.join(module + colon + other for other in near)}?" if near else f" ({error})"
        raise UsageError(f"env.id: Gymnasium knows no environment {env_id!r}{elsewhere(name) or hint}") from error


def elsewhere(name: str) -> str:
    """Say what to type for an id that a package registers which nobody has imported; "" if it looks like none."""
    for pattern, how in ELSEWHERE:
        found = re.fullmatch(pattern, name)
        if found and not any(re.fullmatch(pattern, known) for known in gymnasium.registry):  # else it is mistyped
            return f": {found.expand(how)}"
    return ""


def import_extra(package: str, extra: str, who: str) -> None:
    """Import a package, which registers its ids, that an extra installs; raise `UsageError` if it is not there."""
    try:
        importlib.import_module(package.replace("-", "_"))
        if package == "minatar":  # the only one that does not register its ids when it is imported
            register = importlib.import_module("minatar.gym").register_envs
            if "MinAtar/Breakout-v1" not in gymnasium.registry:
                register()
    except ImportError as error:
        how = f"`pip install -c constraints.txt -e '.[{extra}]'`"
        raise UsageError(f"{who} needs the package {package} ({error}): install it with {how}") from error
