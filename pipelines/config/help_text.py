"""What `--help` of training says: usage, examples, presets and parts with their meanings, then Hydra's settings."""

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType

from pipelines.config.hints import CONF, OVER_ALL, options

USAGE = """\
python -m pipelines.train +exp=PRESET [group=option …] [setting=value …]
  trains an agent, and leaves everything in one folder of outputs/; `recall train …` is the same.

Examples:
  python -m pipelines.train +exp=drqn_cartpole_masked                      # 2 to 4 minutes
  python -m pipelines.train +exp=drqn_cartpole_masked network/memory=none  # without its memory
  python -m pipelines.train -m +exp=r2d2_memory_len seed=0,1,2             # three runs

dry=true only checks. Your own task: algo=r2d2 env=gym env.id=my_file:MyEnv-v0 network/torso=mlp
"""
FOOTER = """\
`+exp=NAME --help` lists all settings of a preset. What each means and may be: docs/settings.md.
Hydra's own flags: --hydra-help.
"""
FAMILIES = {  # beginnings of the presets' names; each algorithm stands on the one before it
    "drqn_": "DRQN (Hausknecht & Stone 2015): DQN with a memory",
    "r2d2_": "R2D2 (Kapturowski et al. 2019): stored states, burn-in, priorities",
    "ngu_": "NGU (Badia et al. 2020a): novelty pays, for a family of policies",
    "agent57_": "Agent57 (Badia et al. 2020b): a bandit chooses among them",
    "dqn_": "DQN (Mnih et al. 2015): no memory",
    "qr_dqn_": "QR-DQN (Dabney et al. 2018): quantiles of the return",
    "pqn_": "PQN (Gallici et al. 2024): no replay and no target network",
    "reinforce_": "REINFORCE (Williams 1992): a policy instead of values",
    "tour": "Grid tours",
    "": "Others",
}
NARROWEST, WIDEST = 60, 100  # columns


def help_text() -> str:
    """Write the template of Hydra's help; where something is chosen, all settings stand in the place of the presets.

    A `$` stands for what Hydra puts in, and is doubled elsewhere.
    """
    columns = min(max(shutil.get_terminal_size((WIDEST, 24)).columns - 1, NARROWEST), WIDEST)
    chosen = HydraConfig.initialized() and bool(HydraConfig.get().overrides.task)
    above = [USAGE] if chosen else [USAGE, "\n".join(presets(columns)) + "\n"]
    text = "\n".join([*above, "\n".join(parts(columns)) + "\n"]).replace("$", "$$")
    settings = "Settings, setting=value, as they are with what you chose:\n\n$CONFIG\n" if chosen else ""
    return "\n".join(filter(None, (text, settings, FOOTER)))


def presets(columns: int) -> Iterator[str]:
    """List the presets by algorithm, one line each, and what goes with them."""
    left = names_of("exp")
    width = max(map(len, left))
    yield "Presets, +exp=NAME:"
    for beginning, title in FAMILIES.items():
        found = [name for name in left if name.startswith(beginning)]
        left = [name for name in left if name not in found]
        if found:
            yield f"\n {title}"
            yield from (entry("exp", name, width, columns) for name in found)
    for group, title in (("debug", "Behind a preset, +debug=NAME"), ("sweep", "Several runs, with -m, +sweep=NAME")):
        yield f"\n {title}"
        yield from (entry(group, name, width, columns) for name in names_of(group))


def parts(columns: int) -> Iterator[str]:
    """List the groups with a default, and all their options."""
    yield "Parts, group=option; docs/settings.md has the settings of each:"
    for group in dict.fromkeys(group for group, _ in options() if group not in OVER_ALL):
        yield textwrap.fill(f"  {group}: {', '.join(names_of(group))}", columns, subsequent_indent=6 * " ")


def names_of(group: str) -> list[str]:
    """List the options of a group, those of a folder that the user named included."""
    if GlobalHydra.instance().is_initialized():
        return sorted(GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG))
    return [name for _, name in options(group)]


def entry(group: str, name: str, width: int, columns: int) -> str:
    """Write an option and its meaning in one line."""
    line = f"  {name:<{width}}  {meaning(group, name)}".rstrip()
    return line if len(line) <= columns else line[: columns - 1] + "…"


def meaning(group: str, name: str) -> str:
    """Say what an option is: the first sentence of its file's comment, or what stands before a colon or semicolon."""
    return re.split(r"[:;] |\. (?=[^a-z0-9(])|\.$", comment(group, name), maxsplit=1)[0]


def comment(group: str, name: str) -> str:
    """Read the comment at the head of an option's file, in one line; "" if there is none."""
    path = Path(CONF, group, f"{name}.yaml")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    head: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            head.append(line.removeprefix("#").strip())
    return " ".join(head)
