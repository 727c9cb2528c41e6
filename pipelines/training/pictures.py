"""The pictures and the film that a run leaves."""

from pathlib import Path

from modules.plots.curve import learning_curve
from pipelines.config.schema import RunConfig
from pipelines.training.loop import Loop


def draw_pictures(loop: Loop) -> None:
    """Draw what there is to draw, and show it."""
    parts, frames = loop.parts, loop.counters.frames
    curve = learning_curve(parts.run_dir)
    for picture in filter(None, [curve, *parts.callbacks.draw(loop)]):
        parts.logger.image(frames, picture)


def missing_pictures(run: RunConfig, run_dir: Path, frames: int) -> list[Path]:
    """List the pictures and the film that a run which finished at `frames` has not, although it can have them."""
    names = ["learning_curve.png", *(name for spec in run.watching.values() for name in spec.pictures)]
    films = [film_of(run_dir, frames)] if run.video else []
    return [path for path in [*(run_dir / name for name in names), *films] if not path.exists()]


def film_of(run_dir: Path, frames: int) -> Path:
    """Name the film of what a run had learned at its end."""
    return run_dir / "videos" / f"frames_{frames:012d}.mp4"


def draw_film(loop: Loop) -> None:
    """Film greedy episodes, and show them."""
    parts, frames = loop.parts, loop.counters.frames
    path = film_of(parts.run_dir, frames)
    loop.film(path)
    parts.logger.video(frames, path)
