"""Evaluate: `python -m pipelines.evaluate run=DIR [episodes=100] [checkpoint=best|last] [seed=N] [video=true]`."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field

from modules import checkpoint
from modules.evaluation import Episodes, run_episodes
from modules.files import write_text
from modules.networks.nets import Policy
from modules.process import tune
from modules.seeding import seed_everything, seed_for
from modules.spec import Spec, UsageError, spec
from pipelines.command import command
from pipelines.film import film
from pipelines.schema import Run, read
from pipelines.settings import parse

MAX_ENVS = 32
DEFAULTS = {"episodes": 100, "checkpoint": "best", "seed": 0, "video": False}
USAGE = """python -m pipelines.evaluate run=DIR [setting=value ...]
  run=DIR               run directory to evaluate (required)
  episodes=100          greedy episodes, none of which training has seen
  checkpoint=best|last  weights with the best evaluation during training, or the newest
  seed=0                of the evaluation's own random stream
  video=false           also record one episode into DIR/videos
Writes DIR/evaluation.json."""


@spec
class Evaluation(Spec):
    """Settings of an evaluation."""

    run: Path
    episodes: Annotated[int, Field(gt=0)]
    checkpoint: Literal["best", "last"]
    seed: Annotated[int, Field(ge=0)]
    video: bool


def load_run(run_dir: Path) -> tuple[Run, dict[str, Any]]:
    """Read the configuration that a run directory was made with, checked, and as plain values."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise UsageError(f"{run_dir}: no run is there (it has no config.yaml)")
    try:
        cfg = OmegaConf.load(path)
    except Exception as error:
        raise UsageError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    config = OmegaConf.to_container(cfg)
    if not isinstance(config, dict):
        raise UsageError(f"{path}: not the configuration of a run")
    return read(OmegaConf.create(config)), {str(key): value for key, value in config.items()}


def weights(run_dir: Path, which: str) -> tuple[dict[str, Any], int]:
    """Load a run's network weights, `best` or `last`, and the frames after which they were saved."""
    folder = run_dir / "checkpoints"
    best = folder / "best.pt"
    if which == "best" and not best.exists() and checkpoint.found(folder):
        raise UsageError(f"{run_dir}: no evaluation has chosen a best checkpoint yet; use checkpoint=last")
    state = checkpoint.load(best if which == "best" else checkpoint.latest(folder))
    return state["network"], state["frames"]


def evaluate(settings: Evaluation) -> dict[str, Any]:
    """Run the greedy episodes, write evaluation.json, film one more if asked; return what the file says."""
    run, _ = load_run(settings.run)
    state, frames = weights(settings.run, settings.checkpoint)
    tune(run.threads)
    seed_everything(settings.seed)
    network = run.network.build(run.spaces)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"{settings.run}: the saved weights do not fit the network in its config.yaml") from error
    policy = Policy(network, run.spaces.n_actions)
    env = run.env.build(min(settings.episodes, MAX_ENVS), run.network.primer())
    # Another purpose than training's evaluations: no seed here was used to choose the best checkpoint.
    seed = seed_for(settings.seed, "held-out evaluation")
    episodes = run_episodes(env, policy, episodes=settings.episodes, seed=seed)
    env.close()
    result = write(settings, episodes, frames)
    if settings.video:
        path = settings.run / "videos" / f"evaluation_{settings.checkpoint}.mp4"
        film(run, policy, seed=settings.seed, path=path)
    return result


def write(settings: Evaluation, episodes: Episodes, frames: int) -> dict[str, Any]:
    """Write evaluation.json atomically and return what it says."""
    metrics = episodes.metrics()
    result = {
        **{name: metrics[f"eval/return_{name}"] for name in ("mean", "std", "min", "max")},
        "episodes": len(episodes.returns),
        "length_mean": metrics["eval/length_mean"],
        "checkpoint": settings.checkpoint,
        "frames": frames,
        "seed": settings.seed,
        "returns": episodes.returns,
    }
    write_text(settings.run / "evaluation.json", json.dumps(result, indent=2) + "\n")
    return result


def main(arguments: Sequence[str]) -> int:
    """Evaluate and write the table."""
    logging.basicConfig(level=logging.WARNING)
    with command():
        settings = parse(Evaluation, DEFAULTS, arguments, USAGE)
        result = evaluate(settings)
    shown = ("mean", "std", "min", "max", "episodes", "length_mean", "checkpoint", "frames", "seed")
    rows = [
        f"{name:<12} {result[name]:.2f}" if isinstance(result[name], float) else f"{name:<12} {result[name]}"
        for name in shown
    ]
    sys.stdout.write("\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
