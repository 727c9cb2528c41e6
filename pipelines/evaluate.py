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
from typing import Any

import torch
from tensordict.nn import TensorDictModuleBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from modules.errors import told
from modules.evaluation import Callback, Look, no_look
from modules.files import write_text
from modules.loggers import Waiting
from modules.plots.runs import evaluation_file
from modules.seeding import seed_for
from modules.spec import UsageError
from pipelines.agent.film import film
from pipelines.agent.held_out import DEFAULTS, USAGE, Evaluation, random_play, run_held_out
from pipelines.agent.saved import runs_beneath
from pipelines.agent.step_table import recording_steps
from pipelines.agent.trained_agent import TrainedAgent, load_agent
from pipelines.config.settings import parse
from pipelines.console.command import command
from pipelines.console.output import Unread, complain, one_line, quote_path, while_read, write
from pipelines.console.signals import Asked, Stop, handled_by
from pipelines.console.terminal import Screen, Stage, ending_on_signals
from pipelines.sharing.hub import find_run, is_hub

log = logging.getLogger("recall")


def load_evaluated(settings: Evaluation) -> TrainedAgent:
    """Make everything ready for the evaluation of one run."""
    run_dir = find_run(settings.run, settings.plugins)
    return load_agent(
        run_dir, which=settings.checkpoint, arm=settings.arm, seed=settings.seed, plugins=settings.plugins
    )


def evaluate(settings: Evaluation, agent: TrainedAgent, say: Callable[[dict[str, Any]], object]) -> None:
    """Run the episodes, film others if asked; write evaluation.json unless watched.

    `say` is told what stands there when all is written, or when something could not be, before the error continues.
    """
    if settings.video and (problem := agent.run.env.film_problem()):
        raise UsageError(problem)
    missing = "this evaluation"
    try:
        with contextlib.ExitStack() as at_last:
            with contextlib.ExitStack() as kept:
                result = run_evaluation(settings, *recorded(settings, agent, kept))
                at_last.callback(say, result)
                # A look at a few episodes is not to replace the result of many, and the Hub's cache is not to change.
                if settings.view == "none" and not is_hub(settings.run):
                    write_text(settings.run / evaluation_file(settings.policy), json.dumps(result, indent=2) + "\n")
                missing = "episodes.csv" if settings.minari is None else f"the data set {settings.minari}"
            if settings.video:
                missing = "the film"
                log.info("film: %s", film_episodes(settings, agent))
            missing = "the result on standard output"
    except Stop as stop:
        stop.missing = missing
        raise


def recorded(
    settings: Evaluation, agent: TrainedAgent, kept: contextlib.ExitStack
) -> tuple[TrainedAgent, Sequence[Callback], Look]:
    """Say what acts, who is told of the steps and who looks on, for what `kept` writes when the episodes are over."""
    callbacks: list[Callback] = []
    if settings.steps == "csv":
        callbacks += kept.enter_context(recording_steps(settings.run, agent.run.spaces))
    if settings.minari is None:
        return agent, callbacks, no_look
    from pipelines.agent.minari_dataset import recording_dataset

    run = agent.run
    what = f"{settings.policy} episodes of {run.name}, seed {run.seed}, at frame {agent.frames}, by Recall"
    dataset = recording_dataset(
        settings.minari, agent, what, episodes=settings.episodes, num_envs=settings.side_by_side
    )
    recorder = kept.enter_context(dataset)
    return recorder.agent, [*callbacks, recorder], recorder.look


def film_episodes(settings: Evaluation, agent: TrainedAgent) -> Path:
    """Film episodes into the folder of the run; return where."""
    kind = "" if settings.policy == "greedy" else f"_{settings.policy}"
    path = settings.run / "videos" / f"evaluation_{settings.checkpoint}{kind}.mp4"
    policy, watch = agent.acting(settings.policy, 1), partial(Waiting(), "filming")
    film(policy, agent.agent_env(1), seed=settings.seed, path=path, watch=watch)
    return path


def run_evaluation(
    settings: Evaluation, agent: TrainedAgent, callbacks: Sequence[Callback], look: Look = no_look
) -> dict[str, Any]:
    """Run the episodes; say what was evaluated, how, and what came of it. Writes nothing."""
    envs = settings.side_by_side
    policy, env = agent.acting(settings.policy, envs), agent.agent_env(envs).build(envs)
    episodes, result = run_held_out(settings, policy, env, "evaluating", callbacks, look)
    return {
        **result,
        "envs": envs,
        "checkpoint": settings.checkpoint,
        "frames": agent.frames,
        **({} if agent.run.meta.single else {"arm": agent.arm}),
        "policy": settings.policy,
        "seed": settings.seed,
        "returns": episodes.returns,
    }


def watch(policy: TensorDictModuleBase, stage: Stage, screen: Screen, *, delay_s: float) -> None:
    """Show one episode, frame by frame."""
    screen.show(stage.text())
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        while not stage.over:
            time.sleep(delay_s if screen.live else 0)
            stage.act(policy(stage.now))
            screen.show(stage.text())


def stage_for(settings: Evaluation, agent: TrainedAgent) -> Stage:
    """Make the environment for `watch`, with the episode that the film begins with; refuse one without a text view."""
    stage = Stage(agent.run.env, agent.agent_env(1).transforms(), seed=seed_for(settings.seed, "video"))
    try:
        stage.text()
    except UsageError:
        stage.close()
        raise
    return stage


def main(arguments: Sequence[str]) -> int:
    """Evaluate one run or all of a sweep, or play at random in any environment, until a signal ends that at once."""
    logging.basicConfig(level=logging.WARNING)
    log.setLevel(logging.INFO)  # how far a long evaluation is
    try:
        with handled_by(Asked()):
            return evaluate_runs(arguments)
    except Stop as stop:
        name, missing = signal.Signals(stop.signum).name, stop.missing or "this evaluation"
        sys.stderr.write(f"stopped by {name}: what was evaluated before is written, {missing} is not\n")
        return 128 + stop.signum


def evaluate_runs(arguments: Sequence[str]) -> int:
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
                f"run={quote_path(runs[0])}"
            )
        refuse_unwanted(settings, several=bool(runs))
    return all_of(settings, runs) if runs else one(settings)


def refuse_unwanted(settings: Evaluation, *, several: bool) -> None:
    """Raise `UsageError` for what cannot be written."""
    if is_hub(settings.run) and (settings.video or settings.steps != "none"):
        raise UsageError(f"video=true and steps=csv write into the folder of a run, and {settings.run} has none")
    if settings.minari is None:
        return
    if several:
        raise UsageError(f"minari: one data set is of one run, but {settings.run} has several beneath it: name one")
    from pipelines.agent.minari_dataset import refuse_dataset

    refuse_dataset(settings.minari)


def one(settings: Evaluation) -> int:
    """Evaluate and write the table, then show an episode if asked; return the exit code."""
    with command():
        agent = load_evaluated(settings)
        if settings.view == "text":
            stage_for(settings, agent).close()  # to refuse what has no text view before all else
        try:
            evaluate(settings, agent, lambda result: write(table(result)))
        except (UsageError, OSError, Unread):
            raise
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return describe_failure(error, settings.run, f" ({last.filename}, line {last.lineno}, in {last.name})")
    if settings.view == "text":
        with ending_on_signals():
            with command():
                stage = stage_for(settings, agent)  # only now, for there may be no room for it beside others
            with contextlib.closing(stage), while_read():
                watch(agent.acting(settings.policy, 1), stage, Screen(sys.stdout), delay_s=settings.delay_s)
    return 0


def all_of(settings: Evaluation, runs: Sequence[Path]) -> int:
    """Evaluate `runs` one after the other, each as if alone; return the exit code."""
    code = 0
    for run_dir in runs:
        try:
            alone = replace(settings, run=run_dir)
            evaluate(alone, load_evaluated(alone), lambda result, run_dir=run_dir: write(line(run_dir, result)))
        except Unread:
            raise
        except (Exception, SystemExit) as error:  # whatever is wrong with this one, the others can be evaluated
            code = describe_failure(error, run_dir)
    return code


def describe_failure(error: BaseException, run_dir: Path, place: str = "") -> int:
    """Say in one line what went wrong, and at which place in the code; return the exit code."""
    text = " ".join(str(error).split()) if isinstance(error, UsageError) else told(error)
    complain((text if str(run_dir) in text else f"{run_dir}: {text}") + place)
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
        f"{one_line(str(run_dir))}: "
        f"return {result['mean']:.4g} ± {result['std']:.4g} ({result['min']:.4g} to {result['max']:.4g}), "
        f"{result['episodes']} episodes of {result['length_mean']:.4g} steps, "
        f"{result['checkpoint']} checkpoint at frame {result['frames']}{arm}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
