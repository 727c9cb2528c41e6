"""Episodes of random actions in an environment without a run: what a score there is worth."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modules.envs.base import EnvContext, LastStep
from modules.evaluation import run_episodes
from modules.exploration import random_policy
from modules.loggers import Waiting
from modules.seeding import seed_everything, seed_for
from modules.spec import UsageError
from pipelines.agent.held_out import DEFAULTS, HELD_OUT, USAGE, Evaluation, of_returns
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from pipelines.config.settings import parse

MINE = ("policy", "episodes", "envs", "seed", "-h", "--help")  # all other words are of pipelines.train


def random_play(arguments: Sequence[str]) -> dict[str, Any]:
    """Play random episodes in the environment that the words describe; say what came of it."""
    mine = [word for word in arguments if word.partition("=")[0] in MINE]
    settings = parse(Evaluation, {**DEFAULTS, "run": Path()}, mine, USAGE)
    run = read(compose_settings([word for word in arguments if word not in mine])[0])
    run = replace(run, video=False)  # which training has by default, and for which an environment would have to render
    if problems := list(run.env.needs(run)):
        raise UsageError("; ".join(problems))
    seed_everything(settings.seed)
    policy, limit = random_policy(run.spaces.n_actions), [LastStep(run.eval_max_steps, "eval_max_steps")]
    with closing(run.env.build(EnvContext(settings.side_by_side, limit))) as env:
        seed, watch = seed_for(settings.seed, HELD_OUT), partial(Waiting(), "playing")
        episodes = run_episodes(env, policy, episodes=settings.episodes, seed=seed, watch=watch)
    return {
        **of_returns(episodes),
        "policy": settings.policy,
        "envs": settings.side_by_side,
        "seed": settings.seed,
    }
