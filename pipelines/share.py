"""Share a trained policy: `python -m pipelines.share run=DIR to=hub:USER/NAME|folder:PATH`."""

import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from modules.files import refuse_unwritable
from modules.plots.runs import evaluation_file, read_json
from modules.spec import Spec, UsageError, spec
from pipelines.agent.held_out import DEFAULTS as HELD_OUT
from pipelines.agent.held_out import Evaluation
from pipelines.agent.trained_agent import TrainedAgent, load_agent, load_run
from pipelines.config.plugins import Plugins
from pipelines.config.settings import check_settings, parse
from pipelines.console.command import command
from pipelines.console.output import write
from pipelines.evaluate import run_evaluation
from pipelines.sharing.destination import destination, names_in, put, ready, refuse_taken, upload
from pipelines.sharing.folder import make, public_config
from pipelines.sharing.hub import PREFIX, is_hub

DEFAULTS = {
    "checkpoint": "best",
    "episodes": 100,
    "video": True,
    "licence": "mit",
    "private": False,
    "overwrite": False,
    "plugins": (),
}
USAGE = """python -m pipelines.share run=DIR to=hub:USER/NAME|folder:PATH [setting=value ...]
  run=DIR               run directory with the policy (required)
  to=hub:USER/NAME      a model of the Hugging Face Hub, made if need be; needs the extra hub and a token
  to=folder:PATH        the same files in a folder of this machine
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  episodes=100          held-out episodes that the score is of, if DIR has no evaluation.json of these weights
  video=true            with a film, if the environment draws pictures
  licence=mit           of what is shared, as the Hub writes it; mit is that of Recall (its file LICENSE)
  private=false         whether only you see it on the Hub
  overwrite=false       replace what this command has written there before
  plugins=[FILE]        modules of your own that the run imports; named again each time, for the folder may not be yours
Shares weights, config.yaml without where it logged, metrics.csv, the learning curve, a film, ONNX if that extra is
there, and a card, README.md. Refuses settings that name a path, a person, a machine or a secret."""


@spec
class Share(Spec):
    """Settings of what is shared, and where to."""

    run: Path
    to: Path
    checkpoint: Literal["best", "last"]
    episodes: Annotated[int, Field(gt=0, le=1_000_000)]
    video: bool
    licence: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    private: bool
    overwrite: bool
    plugins: Plugins


def share(settings: Share) -> str:
    """Share the policy; return what there is to say of it.

    Raises:
        UsageError: there is no such run or checkpoint, the destination is taken or cannot be written, the extra or the
            token is missing, or a setting must not be shared.
        OSError: a file could not be written.
    """
    if is_hub(settings.run):
        raise UsageError(f"run={settings.run}: what is shared is a run in a folder of this machine")
    kind, place = destination(settings.to)
    if kind == "folder":
        refuse_taken(names_in(Path(place)), place, overwrite=settings.overwrite)
        refuse_unwritable(Path(place), "to")
    _, config = load_run(settings.run, settings.plugins)
    config = public_config(config, settings.run)
    agent = load_agent(settings.run, which=settings.checkpoint, arm=None, seed=0, plugins=settings.plugins)
    api = ready(place, private=settings.private, overwrite=settings.overwrite) if kind == "hub" else None
    where = f"{PREFIX}{place}" if kind == "hub" else Path(place).absolute().name
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        make(made, agent, config, evaluation_of(settings, agent), settings, where)
        names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
        if kind == "hub":
            message = f"{agent.run.name}, seed {agent.run.seed}, at frame {agent.frames}"
            place = upload(api, place, made, private=settings.private, message=message)
        else:
            put(made, Path(place))
    return f"{place}: the policy at frame {agent.frames}, in {', '.join(names)}\n"


def evaluation_of(settings: Share, agent: TrainedAgent) -> dict[str, Any]:
    """Read what evaluation.json says of these weights, or play the episodes; writes nothing."""
    path = settings.run / evaluation_file("greedy")
    if path.is_file():
        found = read_json(path)
        which = (found.get("checkpoint"), found.get("frames"), found.get("arm", agent.arm))
        same = which == (settings.checkpoint, agent.frames, agent.arm)
        numbers = [found.get("length_mean"), *(found.get("returns") or [None])]
        enough = len(numbers) > settings.episodes
        if same and enough and all(isinstance(number, int | float) for number in numbers):
            return found
    given = {name: getattr(settings, name) for name in ("run", "checkpoint", "episodes", "plugins")}
    return run_evaluation(check_settings(Evaluation, {**HELD_OUT, **given}), agent, ())


def main(arguments: Sequence[str]) -> int:
    """Share one policy."""
    logging.basicConfig(level=logging.WARNING)
    with command():
        text = share(parse(Share, DEFAULTS, arguments, USAGE))
    write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
