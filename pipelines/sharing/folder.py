"""The folder of a shared policy: what goes into it, and what must not."""

import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from getpass import getuser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from modules import checkpoint
from modules.files import write_bytes, write_text
from modules.loggers import LoggerSpec, Waiting
from modules.plots.curve import CURVE, curve_figure
from modules.plots.figure import save
from modules.plots.runs import read_table
from modules.spec import UsageError
from pipelines.agent.described import ACTING
from pipelines.agent.film import film
from pipelines.agent.policy_card import describe_policy
from pipelines.agent.saved import CONFIG, POLICY, load_saved_policy, read_summary
from pipelines.agent.trained_agent import TrainedAgent
from pipelines.config.plugins import strings
from pipelines.export import ONNX, policy_file
from pipelines.sharing.card import Card, Score
from pipelines.sharing.destination import ABOUT, CARD, FILM, METRICS
from pipelines.sharing.retraining import training_command

SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")  # how variables are called that hold one
PATH = re.compile(r"^(/|~|\\\\|[A-Za-z]:[\\/])|(^|[^\w.])/(home|Users|root|mnt|tmp|work)/")
LOGGER = {"to": ["csv"], "mode": "offline", "project": "recall", "group": None, "name": None, "tags": []}


def public_config(config: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """The settings of a run without where it logged and which cluster it ran on, which are nobody else's.

    Raises:
        UsageError: another setting names a path, a person, a machine or a secret.
    """
    logger = {"_target_": f"{LoggerSpec.__module__}.{LoggerSpec.__qualname__}", **LOGGER}
    found = {**config, "logger": logger}
    if "address" in (collector := config.get("collector") or {}):
        found["collector"] = {**collector, "address": "local"}
    for name, text in strings(found):
        if what := "a secret" if text and SECRET.search(name.upper()) else private(text):
            raise UsageError(
                f"{run_dir}: {name} in its config.yaml is {what}, which must not be shared: train with a value that "
                "others have too, or change it in a copy of the folder"
            )
    return found


def private(text: str) -> str:
    """Say what of this machine or person a setting holds; "" if nothing."""
    if any(len(value) >= 8 and value in text for name, value in os.environ.items() if SECRET.search(name)):
        return "a secret"  # not repeated here
    if PATH.search(text) or any(len(place) > 1 and place in text for place in (str(Path.home()), os.getcwd())):
        return f"a path of this machine ({text!r})"
    parts = re.split(r"[^\w-]+", text)
    if socket.gethostname().partition(".")[0] in parts:
        return f"the name of this machine ({text!r})"
    with suppress(KeyError, OSError):  # in a container, a user may have no name
        if re.search(r"[@\\/]", text) and getuser() in parts:
            return f"the name of a user ({text!r})"
    return ""


def make(
    made: Path, agent: TrainedAgent, config: Mapping[str, Any], evaluation: Mapping[str, Any], settings: Any, where: str
) -> None:
    """Write all that is shared of `settings.run` into the folder `made`.

    Args:
        made: an empty folder.
        agent: with the policy.
        config: of the run, as `public_config` makes it.
        evaluation: what evaluation.json says of the policy.
        settings: of the command.
        where: what `load` is going to take.
    """
    run, run_dir = agent.run, settings.run
    path, state = load_saved_policy(run.spaces.n_arms, run_dir, settings.checkpoint)
    checkpoint.write(
        made / "checkpoints" / path.name, {name: state[name] for name in (*POLICY, ACTING) if name in state}
    )
    OmegaConf.save(OmegaConf.create(dict(config)), made / CONFIG)
    if (table := run_dir / METRICS).is_file():
        read_table(table)  # so that nothing but numbers is shared
        shutil.copyfile(table, made / METRICS)
        if figure := curve_figure(run_dir):
            save(figure, made / CURVE)
    if all(find_spec(name) for name in ONNX) and run.network.torso.writes == "features":
        write_bytes(made / "policy.onnx", policy_file(agent, "onnx")[0])
    if settings.video and not run.env.film_problem():
        put_film(made, agent, run_dir)
    card = Card(
        run=run,
        policy=describe_policy(run),
        checkpoint=settings.checkpoint,
        frames=agent.frames,
        score=Score.of(evaluation),
        summary=read_summary(run_dir) or {},
        command=training_command(config),
        licence=settings.licence,
        files=[found.name for found in made.iterdir()],
        where=where,
        plugins=settings.plugins,
    )
    write_text(made / ABOUT, json.dumps(card.about(), indent=2) + "\n")
    write_text(made / CARD, card.text)


def put_film(made: Path, agent: TrainedAgent, run_dir: Path) -> None:
    """Copy the film that the run made of these weights, or film episodes."""
    films = run_dir / "videos" / f"frames_{agent.frames:012d}.mp4"
    if films.is_file() and films.with_suffix(".gif").is_file():
        for suffix in (".mp4", ".gif"):
            shutil.copyfile(films.with_suffix(suffix), made / f"{FILM}{suffix}")
        return
    watch = partial(Waiting(), "filming")
    film(agent.policy, agent.agent_env(1), seed=agent.run.seed, path=made / f"{FILM}.mp4", watch=watch)
