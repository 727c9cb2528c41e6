"""What a mistyped command line may have meant: settings, options and experiments that there are."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from modules.spec import UsageError
from pipelines.config.older import NEW_SETTINGS

CONF = str(Path(__file__).resolve().parents[2] / "conf")
OVER_ALL = ("exp", "debug", "sweep")  # groups without a default: their options are added with +
CHOOSING = ("exp", "env", "algo", "debug")  # groups of which one at least says what to train
OPEN = ("env.kwargs.", "callbacks.")  # beneath: what an environment's constructor takes, callbacks of one's own
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
QUOTED = re.compile(r"""'([^'\\]|\\.)*'|"([^"\\]|\\.)*\"""", re.DOTALL)  # as Hydra reads it
FURTHER = {  # options of Hydra's own groups that further packages bring
    "hydra/launcher": {
        "joblib": "hydra-joblib-launcher",
        "ray": "hydra-ray-launcher",
        "ray_aws": "hydra-ray-launcher",
        "rq": "hydra-rq-launcher",
        "submitit_local": "hydra-submitit-launcher",
        "submitit_slurm": "hydra-submitit-launcher",
    },
    "hydra/sweeper": {
        "ax": "hydra-ax-sweeper",
        "nevergrad": "hydra-nevergrad-sweeper",
    },
    "hydra/job_logging": {"colorlog": "hydra-colorlog"},
    "hydra/hydra_logging": {"colorlog": "hydra-colorlog"},
}


def options(group: str = "") -> list[tuple[str, str]]:
    """List every (group, option), or those of one group, off the folders."""
    files = sorted(Path(CONF).joinpath(group).glob("*.yaml" if group else "**/*.yaml"))
    found = [(str(path.parent.relative_to(CONF)), path.stem) for path in files]
    return [item for item in found if item[0] != "."]


def word(group: str, option: str) -> str:
    """Write an option as it is chosen on the command line."""
    return f"{'+' * (group in OVER_ALL)}{group}={option}"


def to_hydra(words: Sequence[str]) -> list[str]:
    """Write for Hydra what can be said more simply here.

    The settings of an environment's constructor are given as all others are, where Hydra asks for a +. The name of a
    folder is taken as it stands, where Hydra asks for quotes around `=`, `,`, `#` and letters beyond ASCII; but `${…}`
    is resolved by Hydra.
    """
    return [f"++{given}" if given.startswith(OPEN) else folder_as_text(given) for given in words]


def folder_as_text(given: str) -> str:
    """Quote the name of a folder that Hydra would read as a number, a list or several jobs, or not at all."""
    name, equals, text = given.partition("=")
    if name.lstrip("+") not in FOLDERS or not text or QUOTED.fullmatch(text):
        return given
    text = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", text)  # before a quote, backslashes count half
    text = re.sub(r"\\+$", lambda found: 2 * found[0], text)
    return f"{name}{equals}'{text}'"


def refuse_bare_words(words: Sequence[str]) -> None:
    """Raise `UsageError` for a word without `=`, with the options of that name."""
    for given in words:
        if "=" not in given and not given.startswith("~"):
            near = [word(group, option) for group, option in options() if option == given]
            raise UsageError(f"{given}: not of the form setting=value" + did_you_mean(near))


def refuse_no_choice(words: Sequence[str]) -> None:
    """Raise `UsageError` if nothing says what is to be trained: the defaults are there to be changed, and take long."""
    if not any(given.lstrip("+").partition("=")[0] in CHOOSING for given in words):
        raise UsageError(
            "nothing says what to train; the defaults alone would be DRQN on CartPole's pixels, untuned, for many "
            "minutes: choose a preset, as in +exp=drqn_cartpole_masked, or a task, as in env=gym env.id=CartPole-v1 "
            "network/torso=mlp; --help lists them all"
        )


def did_you_mean(near: Sequence[str]) -> str:
    """Ask, if there is something to ask."""
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""


def unknown_option(text: str) -> str:
    """Say which options there are, if `text` is Hydra's complaint about one that does not exist; else nothing."""
    found = re.search(r"Could not find '([\w/]+)/([^/']+)'\s*Available options in '\1'", text)
    return no_such_option(*found.groups()) if found else ""


def misplaced_option(text: str, overrides: Sequence[str]) -> str:
    """Say which options have a part, if `text` is Hydra's complaint that the one chosen has none; else nothing."""
    found = re.search(r"Could not override '([\w/]+)'\.\s*No match in the defaults list", text)
    if not found:
        return ""
    above, _, leaf = found[1].rpartition("/")
    owners = [word(above, option) for group, option in options(above) if group == above if leaf in parts(above, option)]
    if not owners:
        return ""
    given = next((item for item in overrides if item.startswith(f"{found[1]}=")), found[1])
    return f"{given}: no such part here; there is one in {', '.join(owners)}"


def parts(group: str, option: str) -> set[str]:
    """The groups in an option, of which it has one option each."""
    own: Any = OmegaConf.to_container(OmegaConf.load(Path(CONF, group, f"{option}.yaml")))
    found = own.get("defaults", [])
    names = {name for item in found if isinstance(item, dict) for name in item}
    return names.union(*(parts(group, item) for item in found if isinstance(item, str) and item != "_self_"))


def no_such_option(group: str, given: str) -> str:
    """Say which options a group has, of Hydra's own groups also those that further packages bring."""
    if group.startswith("hydra/"):
        names = GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)
    else:
        names = [option for _, option in options(group)]
    more = FURTHER.get(group, {})
    alone = [name for name in names if name not in more]
    there_are = "there are " + ", ".join([*alone, *(f"{name} (with {package})" for name, package in more.items())])
    if given in more:
        return f"{word(group, given)} needs the package {more[given]}, which is not installed; {there_are}"
    near = [word(group, name) for name in difflib.get_close_matches(given, names, n=2)]
    return f"{word(group, given)}: no such option{did_you_mean(near) or '; ' + there_are}"


def unknown_setting(text: str, overrides: Sequence[str]) -> str:
    """Say which settings there are, if `text` is Hydra's complaint about one that does not exist; else nothing."""
    found = re.search(r"Could not override '([\w./]+)'[\s\S]*(is not in struct|not in '\w+')", text)
    if not found:
        return ""
    name = found[1]
    if name in NEW_SETTINGS:
        return f"{name} is now {NEW_SETTINGS[name]}"
    if "/" in name:
        return no_such_group(name)
    given = [item.partition("=")[2] for item in overrides if item.startswith(f"{name}=")]
    rest = [item for item in overrides if not item.lstrip("+~").startswith(f"{name}=")]
    try:
        whole = compose("config", rest, return_hydra_config=name.startswith("hydra."))
        names = list(flat_names(OmegaConf.to_container(whole)))
    except (HydraException, OmegaConfBaseException):
        return ""  # there is more than one mistake; Hydra's own words will do
    parent, _, leaf = name.rpartition(".")
    if owners := [word(group, option) for group, option in options(parent.replace(".", "/")) if parent
                  if leaf in content(group, option)]:  # fmt: skip
        return f"{name}: no such setting here; {' and '.join(owners)} {'have' if len(owners) > 1 else 'has'} it"
    near = [word(group, option) for group, option in options() if [option] == given and not parent and option != "none"]
    near += [other for other in names if other.rpartition(".")[2] == leaf]
    near += difflib.get_close_matches(name, names, n=2)
    if near:
        return f"{name}: no such setting{did_you_mean(near)}"
    beside = ", ".join(other for other in names if other.rpartition(".")[0] == parent)
    groups = "" if parent else f", and the groups {', '.join(dict.fromkeys(group for group, _ in options()))}"
    return f"{name}: no such setting; there are {beside}{groups}"


def no_such_group(name: str) -> str:
    """Say which groups there are."""
    loader = GlobalHydra.instance().config_loader()
    groups = [*dict.fromkeys(group for group, _ in options()), *(f"hydra/{g}" for g in loader.list_groups("hydra"))]
    near = difflib.get_close_matches(name, groups, n=2)
    return f"{name}: no such group{did_you_mean(near) or '; there are ' + ', '.join(groups)}"


def content(group: str, option: str) -> dict[str, Any]:
    """What an option's own file says, as plain values; raises `UsageError` if there is no such option."""
    if (group, option) not in options(group):
        raise UsageError(no_such_option(group, option))
    own: Any = OmegaConf.to_container(OmegaConf.load(Path(CONF, group, f"{option}.yaml")))
    above = [name for name in own.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return {key: value for name in above for key, value in content(group, name).items()} | own


def flat_names(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings in a composed configuration."""
    if not isinstance(node, dict):
        yield prefix
        return
    for key, value in node.items():
        if key != "_target_":
            yield from flat_names(value, f"{prefix}.{key}".lstrip("."))
