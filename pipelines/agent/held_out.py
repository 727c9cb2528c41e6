"""What every evaluation has, of a saved run or of an environment alone: its settings, and what came of the episodes."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase

from modules.envs.base import EnvContext, LastStep
from modules.evaluation import Callback, Episodes, Look, no_look, run_episodes
from modules.exploration import random_policy
from modules.loggers import Waiting
from modules.seeding import seed_everything, seed_for
from modules.spec import Count, Spec, spec
from pipelines.agent.trained_agent import PolicyName
from pipelines.config.check import read_environment
from pipelines.config.plugins import Plugins
from pipelines.config.settings import parse

MINE = ("policy", "episodes", "envs", "seed", "-h", "--help")  # without a run, all other words are of pipelines.train
DEFAULTS = {
    "episodes": 100,
    "envs": 32,
    "checkpoint": "best",
    "arm": None,
    "policy": "greedy",
    "seed": 0,
    "steps": "none",
    "minari": None,
    "video": False,
    "view": "none",
    "delay_s": 0.2,
    "plugins": (),
}
USAGE = """python -m pipelines.evaluate run=DIR [setting=value ...]
  run=DIR               run directory to evaluate, or the folder of a sweep: every run beneath it (required);
                        or hub:USER/NAME, a policy of the Hugging Face Hub, of which only the table is written
  episodes=100          episodes, none of which training has seen
  envs=32               environments side by side, if there are as many episodes; 1 plays these one after the other
  policy=greedy|sampled|random
                        the best action; or as training explored at the checkpoint, by its temperature or ε (with
                        eps_ladder values spread over the ladder; one environment and a film take the middle one); or
                        any action, which shows what a score is worth. The last two write evaluation_sampled.json and
                        evaluation_random.json. policy=random needs no run: instead of run=DIR say which environment,
                        with the words of pipelines.train: policy=random env=gym env.id=CartPole-v1
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  arm=0                 member of a family of policies; without it the one that the run's own evaluations chose
  seed=0                of the evaluation's own random stream
  steps=none|csv        also write every step, one row each, to DIR/episodes.csv, and draw the observations of the first
                        ten episodes as DIR/episodes.png, if there are few enough numbers in one
  minari=NAME-v0        also make the episodes a data set of Minari on this machine, of what the environment itself gave
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
    arm: Count | None
    policy: PolicyName
    seed: Count
    steps: Literal["none", "csv"]
    minari: str | None
    video: bool
    view: Literal["none", "text"]
    delay_s: Annotated[float, Field(ge=0, le=60)]
    plugins: Plugins

    @property
    def side_by_side(self) -> int:
        """How many environments there are."""
        return min(self.episodes, self.envs)


def run_held_out(
    settings: Evaluation,
    policy: TensorDictModuleBase,
    env: EnvBase,
    doing: str,
    callbacks: Sequence[Callback] = (),
    look: Look = no_look,
) -> tuple[Episodes, dict[str, Any]]:
    """Run the episodes in `env`, and close it; summarise returns and lengths under the names of evaluation.json.

    Their seeds have another purpose than those of training's evaluations: none was used to choose the best checkpoint.
    """
    seed, watch = seed_for(settings.seed, "held-out evaluation"), partial(Waiting(), doing)
    given = {"callbacks": callbacks, "look": look, "watch": watch}
    with closing(env):
        found = run_episodes(env, policy, episodes=settings.episodes, seed=seed, **given)
    metrics = found.metrics()
    return found, {
        **{name: metrics[f"eval/return_{name}"] for name in ("mean", "std", "min", "max")},
        "episodes": len(found.returns),
        "length_mean": metrics["eval/length_mean"],
    }


def random_play(arguments: Sequence[str]) -> dict[str, Any]:
    """Play random episodes in the environment that the words describe, without a run; say what came of it."""
    mine = [word for word in arguments if word.partition("=")[0] in MINE]
    settings = parse(Evaluation, {**DEFAULTS, "run": Path()}, mine, USAGE)
    run = read_environment([word for word in arguments if word not in mine])
    seed_everything(settings.seed)
    policy, limit = random_policy(run.spaces), [LastStep(run.eval_max_steps, "eval_max_steps")]
    _, result = run_held_out(settings, policy, run.env.build(EnvContext(settings.side_by_side, limit)), "playing")
    return {**result, "policy": settings.policy, "envs": settings.side_by_side, "seed": settings.seed}
