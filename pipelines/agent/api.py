"""Evaluating from Python and notebooks; part of `pipelines.api`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules.evaluation import Callback
from pipelines.agent.held_out import DEFAULTS, Evaluation
from pipelines.agent.trained_agent import PolicyName
from pipelines.config.settings import check_settings, folder
from pipelines.console.caller import fork_rngs, refusing_os_errors
from pipelines.evaluate import load_evaluated, run_evaluation


def evaluate(
    run_dir: str | Path,
    *,
    episodes: int = 100,
    envs: int = 32,
    checkpoint: str = "best",
    arm: int | None = None,
    policy: PolicyName = "greedy",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[str] = (),
) -> dict[str, Any]:
    """Run episodes that training never saw, the same ones as `python -m pipelines.evaluate`; writes nothing.

    Args:
        run_dir: of the run, or `hub:USER/NAME`.
        episodes: how many.
        envs: environments that step side by side, if there are as many episodes.
        checkpoint: `best` or `last`.
        arm: member of a family of policies; None takes the one that the run's own evaluations chose.
        policy: greedy, sampled as training explored at the checkpoint (with ε from all over its ladder), or random.
        seed: of the evaluation's own random stream.
        callbacks: told of every episode and step.
        plugins: as of `load`.

    Returns:
        What evaluation.json would say: mean, std, min, max, episodes, envs, length_mean, returns, …

    Raises:
        UsageError: there is no such run, checkpoint or arm.
    """
    given = {"episodes": episodes, "envs": envs, "checkpoint": checkpoint, "arm": arm, "policy": policy, "seed": seed}
    settings = evaluation(run_dir, **given, plugins=tuple(plugins))
    with fork_rngs():
        with refusing_os_errors():
            agent = load_evaluated(settings)
        return run_evaluation(settings, agent, callbacks)


def evaluation(run_dir: str | Path, **given: Any) -> Evaluation:
    """Make the settings of an evaluation of what is `given` and the command's defaults."""
    return check_settings(Evaluation, {**DEFAULTS, "run": folder(run_dir, "run_dir"), **given})
