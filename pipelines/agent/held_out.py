"""What every evaluation has, of a saved run or of an environment alone: its settings, and what came of the episodes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from modules.evaluation import Episodes
from modules.spec import Count, Spec, spec
from pipelines.agent.trained_agent import PolicyName
from pipelines.config.plugins import Plugins

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
    arm: Count | None
    policy: PolicyName
    seed: Count
    steps: Literal["none", "csv"]
    video: bool
    view: Literal["none", "text"]
    delay_s: Annotated[float, Field(ge=0, le=60)]
    plugins: Plugins

    @property
    def side_by_side(self) -> int:
        """How many environments there are."""
        return min(self.episodes, self.envs)


def of_returns(episodes: Episodes) -> dict[str, Any]:
    """Summarise returns and lengths under the names of evaluation.json."""
    metrics = episodes.metrics()
    return {
        **{name: metrics[f"eval/return_{name}"] for name in ("mean", "std", "min", "max")},
        "episodes": len(episodes.returns),
        "length_mean": metrics["eval/length_mean"],
    }
