"""Evaluate: `python -m pipelines.evaluate run=DIR [episodes=100] [checkpoint=best|last] [steps=csv] [view=text] …`."""

import contextlib
import json
import logging
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torchrl.envs.utils import ExplorationType, set_exploration_type

from modules.errors import told
from modules.evaluation import Callback, Episodes, run_episodes
from modules.files import write_text
from modules.loggers import Waiting
from modules.networks.nets import Policy
from modules.seeding import seed_for
from modules.spec import Spec, UsageError, spec
from pipelines.command import command
from pipelines.film import film
from pipelines.output import while_read, write
from pipelines.saved import Subject, runs_beneath, subject_of
from pipelines.settings import parse
from pipelines.signals import Asked, Stop, handled_by
from pipelines.steps import recorded
from pipelines.terminal import Screen, Stage, ending_on_signals

log = logging.getLogger("recall")
MAX_ENVS = 32
DEFAULTS = {
    "episodes": 100,
    "checkpoint": "best",
    "arm": None,
    "seed": 0,
    "steps": "none",
    "video": False,
    "view": "none",
    "delay_s": 0.2,
}
USAGE = """python -m pipelines.evaluate run=DIR [setting=value ...]
  run=DIR               run directory to evaluate, or the folder of a sweep: every run beneath it (required)
  episodes=100          greedy episodes, none of which training has seen
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  arm=0                 member of a family of policies; without it the one that the run's own evaluations chose
  seed=0                of the evaluation's own random stream
  steps=none|csv        also write every step, one row each, to DIR/episodes.csv, and draw the observations of the first
                        ten episodes as DIR/episodes.png, if there are few enough numbers in one
  video=false           also film episodes, of 200 frames or more together, into DIR/videos
  view=none|text        also show the first filmed episode as text, frame by frame, and leave evaluation.json as it is
  delay_s=0.2           seconds that each frame stands, on a terminal
Writes evaluation.json into each run directory, over that of an earlier evaluation. Of a sweep each run is one line;
those that cannot be evaluated are one on stderr each, and the exit code is 1."""


@spec
class Evaluation(Spec):
    """Settings of an evaluation."""

    run: Path
    episodes: Annotated[int, Field(gt=0, le=1_000_000)]
    checkpoint: Literal["best", "last"]
    arm: Annotated[int, Field(ge=0)] | None
    seed: Annotated[int, Field(ge=0)]
    steps: Literal["none", "csv"]
    video: bool
    view: Literal["none", "text"]
    delay_s: Annotated[float, Field(ge=0, le=60)]


def loaded(settings: Evaluation) -> Subject:
    """Make everything ready for the evaluation of one run."""
    return subject_of(settings.run, which=settings.checkpoint, arm=settings.arm, seed=settings.seed)


def evaluate(settings: Evaluation, subject: Subject) -> dict[str, Any]:
    """Run the greedy episodes, film others if asked; return what evaluation.json says, and write it unless watched."""
    kept = recorded(settings.run, subject.run.spaces) if settings.steps == "csv" else contextlib.nullcontext(())
    with kept as callbacks:
        result = summary(settings, played(settings, subject, callbacks), subject)
    if settings.view == "none":  # a look at a few episodes is not to replace the result of many
        write_text(settings.run / "evaluation.json", json.dumps(result, indent=2) + "\n")
    if settings.video:
        path = settings.run / "videos" / f"evaluation_{settings.checkpoint}.mp4"
        watch = partial(Waiting(), "filming")
        film(subject.run, subject.policy, subject.around(1), seed=settings.seed, path=path, watch=watch)
    return result


def played(settings: Evaluation, subject: Subject, callbacks: Sequence[Callback]) -> Episodes:
    """Run the greedy episodes; writes nothing."""
    envs = min(settings.episodes, MAX_ENVS)
    # Another purpose than training's evaluations: no seed here was used to choose the best checkpoint.
    seed = seed_for(settings.seed, "held-out evaluation")
    watch = partial(Waiting(), "evaluating")
    with contextlib.closing(subject.around(envs).build(envs)) as env:
        return run_episodes(
            env, subject.policy, episodes=settings.episodes, seed=seed, callbacks=callbacks, watch=watch
        )


def summary(settings: Evaluation, episodes: Episodes, subject: Subject) -> dict[str, Any]:
    """Say what was evaluated, how, and what came of it."""
    metrics = episodes.metrics()
    return {
        **{name: metrics[f"eval/return_{name}"] for name in ("mean", "std", "min", "max")},
        "episodes": len(episodes.returns),
        "length_mean": metrics["eval/length_mean"],
        "checkpoint": settings.checkpoint,
        "frames": subject.frames,
        **({} if subject.run.meta.single else {"arm": subject.arm}),
        "seed": settings.seed,
        "returns": episodes.returns,
    }


def watch(policy: Policy, stage: Stage, screen: Screen, *, delay_s: float) -> None:
    """Show one greedy episode, frame by frame."""
    screen.show(stage.text())
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        while not stage.over:
            time.sleep(delay_s if screen.live else 0)
            stage.act(policy(stage.now))
            screen.show(stage.text())


def stage_for(settings: Evaluation, subject: Subject) -> Stage:
    """Make the environment for `watch`, with the episode that the film begins with; refuse one without a text view."""
    stage = Stage(subject.run.env, subject.around(1).primer(), seed=seed_for(settings.seed, "video"))
    stage.text()
    return stage


def main(arguments: Sequence[str]) -> int:
    """Evaluate one run or all of a sweep, until a signal ends that at once."""
    logging.basicConfig(level=logging.WARNING)
    log.setLevel(logging.INFO)  # how far a long evaluation is
    try:
        with handled_by(Asked()):
            return evaluated(arguments)
    except Stop as stop:
        name = signal.Signals(stop.signum).name
        sys.stderr.write(f"stopped by {name}: what was evaluated before is written, this evaluation is not\n")
        return 128 + stop.signum


def evaluated(arguments: Sequence[str]) -> int:
    """Evaluate; return the exit code."""
    with command():
        settings = parse(Evaluation, DEFAULTS, arguments, USAGE)
        runs = runs_beneath(settings.run)
        if runs and settings.view != "none":
            raise UsageError(
                f"view=text shows one run, but {settings.run} has several beneath it: name one, e.g. {runs[0]}"
            )
    return all_of(settings, runs) if runs else one(settings)


def one(settings: Evaluation) -> int:
    """Evaluate and write the table, then show an episode if asked; return the exit code."""
    with command():
        subject = loaded(settings)
        stage = stage_for(settings, subject) if settings.view == "text" else None
        try:
            result = evaluate(settings, subject)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return failed(error, settings.run, f" ({last.filename}, line {last.lineno}, in {last.name})")
    write(table(result))
    if stage is not None:
        with ending_on_signals(), contextlib.closing(stage), while_read():
            watch(subject.policy, stage, Screen(sys.stdout), delay_s=settings.delay_s)
    return 0


def all_of(settings: Evaluation, runs: Sequence[Path]) -> int:
    """Evaluate `runs` one after the other, each as if alone; return the exit code."""
    code = 0
    for run_dir in runs:
        try:
            alone = replace(settings, run=run_dir)
            result = evaluate(alone, loaded(alone))
        except (Exception, SystemExit) as error:  # whatever is wrong with this one, the others can be evaluated
            code = failed(error, run_dir)
        else:
            write(line(run_dir, result))
    return code


def failed(error: BaseException, run_dir: Path, place: str = "") -> int:
    """Say in one line what went wrong, and at which place in the code; return the exit code."""
    text = " ".join(str(error).split()) if isinstance(error, UsageError) else told(error)
    where = "" if str(run_dir) in text else f"{run_dir}: "
    sys.stderr.write(f"error: {where}{text}{place}\n")
    return 1


def table(result: dict[str, Any]) -> str:
    """Lay out what evaluation.json says, without the single returns."""
    shown = {name: value for name, value in result.items() if name != "returns"}
    rows = [f"{name:<12} {value:.2f}" if isinstance(value, float) else f"{name:<12} {value}"
            for name, value in shown.items()]  # fmt: skip
    return "\n".join(rows) + "\n"


def line(run_dir: Path, result: dict[str, Any]) -> str:
    """Say the same in one line."""
    arm = f", arm {result['arm']}" if "arm" in result else ""
    return (
        f"{run_dir}: return {result['mean']:.4g} ± {result['std']:.4g} ({result['min']:.4g} to {result['max']:.4g}), "
        f"{result['episodes']} episodes of {result['length_mean']:.4g} steps, "
        f"{result['checkpoint']} checkpoint at frame {result['frames']}{arm}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
