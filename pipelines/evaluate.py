"""Evaluate: `python -m pipelines.evaluate run=DIR [episodes=100] [policy=greedy|sampled|random] [steps=csv] …`."""

import contextlib
import json
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from tensordict.nn import TensorDictModuleBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from modules.envs.base import LastStep
from modules.errors import told
from modules.evaluation import Callback, Episodes, run_episodes
from modules.exploration import random_policy
from modules.files import write_text
from modules.loggers import Waiting
from modules.runs import evaluation_file
from modules.seeding import seed_everything, seed_for
from modules.spec import Spec, UsageError, spec
from pipelines.command import command, configured
from pipelines.film import film
from pipelines.output import Unread, complain, one_line, quoted, while_read, write
from pipelines.plugins import Plugins
from pipelines.saved import PolicyName, Subject, runs_beneath, subject_of
from pipelines.schema import read
from pipelines.settings import parse
from pipelines.signals import Asked, Stop, handled_by
from pipelines.steps import recorded
from pipelines.terminal import Screen, Stage, ending_on_signals

log = logging.getLogger("recall")
HELD_OUT = "held-out evaluation"  # purpose of the seeds
DEFAULTS = {
    "episodes": 100,
    "envs": 32,
    "checkpoint": "best",
    "arm": None,
    "policy": "greedy",
    "seed": 0,
    "steps": "none",
    "video": False,
    "view": "none",
    "delay_s": 0.2,
    "plugins": (),
}
USAGE = """python -m pipelines.evaluate run=DIR [setting=value ...]
  run=DIR               run directory to evaluate, or the folder of a sweep: every run beneath it (required)
  episodes=100          episodes, none of which training has seen
  envs=32               environments side by side, if there are as many episodes; 1 plays these one after the other
  policy=greedy|sampled|random
                        the best action; or as training explored at the checkpoint, by its temperature or ε, of a
                        ladder by rungs from all over it, one environment and a film by a middle one; or any action,
                        which shows what a score is worth. The last two write evaluation_sampled.json and
                        evaluation_random.json. policy=random needs no run: instead of run=DIR say which environment,
                        with the words of pipelines.train: policy=random env=gym env.id=CartPole-v1
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  arm=0                 member of a family of policies; without it the one that the run's own evaluations chose
  seed=0                of the evaluation's own random stream
  steps=none|csv        also write every step, one row each, to DIR/episodes.csv, and draw the observations of the first
                        ten episodes as DIR/episodes.png, if there are few enough numbers in one
  video=false           also film episodes, of 200 frames or more together, into DIR/videos
  view=none|text        also show the first filmed episode as text, frame by frame, and leave evaluation.json as it is
  delay_s=0.2           seconds that each frame stands, on a terminal
  plugins=[FILE]        modules of your own that the run imports; named again each time, for the folder may not be yours
Writes evaluation.json into each run directory, over that of an earlier evaluation. Of a sweep each run is one line;
those that cannot be evaluated are one on stderr each, and the exit code is 1. A result that cannot be written is
printed all the same, with the reason on stderr and exit code 1."""


@spec
class Evaluation(Spec):
    """Settings of an evaluation."""

    run: Path
    episodes: Annotated[int, Field(gt=0, le=1_000_000)]
    envs: Annotated[int, Field(gt=0, le=10_000)]
    checkpoint: Literal["best", "last"]
    arm: Annotated[int, Field(ge=0)] | None
    policy: PolicyName
    seed: Annotated[int, Field(ge=0)]
    steps: Literal["none", "csv"]
    video: bool
    view: Literal["none", "text"]
    delay_s: Annotated[float, Field(ge=0, le=60)]
    plugins: Plugins


def loaded(settings: Evaluation) -> Subject:
    """Make everything ready for the evaluation of one run."""
    return subject_of(
        settings.run, which=settings.checkpoint, arm=settings.arm, seed=settings.seed, plugins=settings.plugins
    )


def evaluate(
    settings: Evaluation, subject: Subject, say: Callable[[dict[str, Any]], object] = lambda result: None
) -> dict[str, Any]:
    """Run the episodes, film others if asked; return what evaluation.json says, and write it unless watched.

    Args:
        settings: what to evaluate, and how.
        subject: made ready for it.
        say: is told the result when all is written, or when something could not be, before the error goes on.
    """
    if settings.video and (problem := subject.run.env.film_problem()):
        raise UsageError(problem)
    kept = recorded(settings.run, subject.run.spaces) if settings.steps == "csv" else contextlib.nullcontext(())
    with contextlib.ExitStack() as at_last:
        with kept as callbacks:
            result = summary(settings, played(settings, subject, callbacks), subject)
            at_last.callback(say, result)
            if settings.view == "none":  # a look at a few episodes is not to replace the result of many
                write_text(settings.run / evaluation_file(settings.policy), json.dumps(result, indent=2) + "\n")
        if settings.video:
            kind = "" if settings.policy == "greedy" else f"_{settings.policy}"
            path = settings.run / "videos" / f"evaluation_{settings.checkpoint}{kind}.mp4"
            policy, watch = subject.acting(settings.policy, 1), partial(Waiting(), "filming")
            film(subject.run, policy, subject.around(1), seed=settings.seed, path=path, watch=watch)
    return result


def played(settings: Evaluation, subject: Subject, callbacks: Sequence[Callback]) -> Episodes:
    """Run the episodes; writes nothing."""
    envs = side_by_side(settings)
    # Another purpose than training's evaluations: no seed here was used to choose the best checkpoint.
    seed = seed_for(settings.seed, HELD_OUT)
    watch = partial(Waiting(), "evaluating")
    with contextlib.closing(subject.around(envs).build(envs)) as env:
        policy = subject.acting(settings.policy, envs)
        return run_episodes(env, policy, episodes=settings.episodes, seed=seed, callbacks=callbacks, watch=watch)


def side_by_side(settings: Evaluation) -> int:
    """How many environments there are."""
    return min(settings.episodes, settings.envs)


def summary(settings: Evaluation, episodes: Episodes, subject: Subject) -> dict[str, Any]:
    """Say what was evaluated, how, and what came of it."""
    return {
        **of_returns(episodes),
        "envs": side_by_side(settings),
        "checkpoint": settings.checkpoint,
        "frames": subject.frames,
        **({} if subject.run.meta.single else {"arm": subject.arm}),
        "policy": settings.policy,
        "seed": settings.seed,
        "returns": episodes.returns,
    }


def of_returns(episodes: Episodes) -> dict[str, Any]:
    """Summarise returns and lengths under the names of evaluation.json."""
    metrics = episodes.metrics()
    return {
        **{name: metrics[f"eval/return_{name}"] for name in ("mean", "std", "min", "max")},
        "episodes": len(episodes.returns),
        "length_mean": metrics["eval/length_mean"],
    }


def watch(policy: TensorDictModuleBase, stage: Stage, screen: Screen, *, delay_s: float) -> None:
    """Show one episode, frame by frame."""
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
    """Evaluate one run or all of a sweep, or play at random in any environment, until a signal ends that at once."""
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
    if "policy=random" in arguments and not any(word.startswith("run=") for word in arguments):
        with command():
            result = random_play(arguments)
        write(table(result))
        return 0
    with command():
        settings = parse(Evaluation, DEFAULTS, arguments, USAGE)
        runs = runs_beneath(settings.run)
        if runs and settings.view != "none":
            raise UsageError(
                f"view=text shows one run, but {settings.run} has several beneath it: name one, e.g. "
                f"run={quoted(runs[0])}"
            )
    return all_of(settings, runs) if runs else one(settings)


def one(settings: Evaluation) -> int:
    """Evaluate and write the table, then show an episode if asked; return the exit code."""
    with command():
        subject = loaded(settings)
        stage = stage_for(settings, subject) if settings.view == "text" else None
        try:
            evaluate(settings, subject, lambda result: write(table(result)))
        except (UsageError, OSError, Unread):
            raise
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return failed(error, settings.run, f" ({last.filename}, line {last.lineno}, in {last.name})")
    if stage is not None:
        with ending_on_signals(), contextlib.closing(stage), while_read():
            watch(subject.acting(settings.policy, 1), stage, Screen(sys.stdout), delay_s=settings.delay_s)
    return 0


def all_of(settings: Evaluation, runs: Sequence[Path]) -> int:
    """Evaluate `runs` one after the other, each as if alone; return the exit code."""
    code = 0
    for run_dir in runs:
        try:
            alone = replace(settings, run=run_dir)
            evaluate(alone, loaded(alone), lambda result, run_dir=run_dir: write(line(run_dir, result)))
        except Unread:
            raise
        except (Exception, SystemExit) as error:  # whatever is wrong with this one, the others can be evaluated
            code = failed(error, run_dir)
    return code


def failed(error: BaseException, run_dir: Path, place: str = "") -> int:
    """Say in one line what went wrong, and at which place in the code; return the exit code."""
    text = " ".join(str(error).split()) if isinstance(error, UsageError) else told(error)
    complain((text if str(run_dir) in text else f"{run_dir}: {text}") + place)
    return 1


def random_play(arguments: Sequence[str]) -> dict[str, Any]:
    """Play random episodes in the environment that the words describe; say what came of it."""
    mine = [word for word in arguments if word.partition("=")[0] in ("policy", "episodes", "envs", "seed")]
    settings = parse(Evaluation, {**DEFAULTS, "run": Path()}, mine, USAGE)
    run = read(configured([word for word in arguments if word not in mine])[0])
    if problems := list(run.env.needs(run)):
        raise UsageError("; ".join(problems))
    seed_everything(settings.seed)
    limit = LastStep(run.eval_max_steps, "eval_max_steps")
    with contextlib.closing(run.env.build(envs := side_by_side(settings), limit)) as env:
        policy, seed = random_policy(run.spaces.n_actions), seed_for(settings.seed, HELD_OUT)
        watch = partial(Waiting(), "playing")
        episodes = run_episodes(env, policy, episodes=settings.episodes, seed=seed, watch=watch)
    return {**of_returns(episodes), "policy": settings.policy, "envs": envs, "seed": settings.seed}


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
        f"{one_line(str(run_dir))}: "
        f"return {result['mean']:.4g} ± {result['std']:.4g} ({result['min']:.4g} to {result['max']:.4g}), "
        f"{result['episodes']} episodes of {result['length_mean']:.4g} steps, "
        f"{result['checkpoint']} checkpoint at frame {result['frames']}{arm}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
