"""The pictures and the film that a run leaves."""

from pathlib import Path

from modules.plots import arms_over_time, learning_curve, visits_map
from pipelines.loop import Loop
from pipelines.schema import Run


def draw_pictures(loop: Loop) -> None:
    """Draw what there is to draw, and show what metrics.csv does not say."""
    parts, frames = loop.parts, loop.counters.frames
    learning_curve(parts.run_dir)
    family = None if parts.run.meta.single else arms_over_time(parts.run_dir)
    for picture in (family, visits_map(parts.run_dir, parts.visits.counts.numpy())):
        if picture is not None:
            parts.logger.image(frames, picture)


def missing_pictures(run: Run, run_dir: Path, frames: int) -> list[Path]:
    """List the pictures and the film that a run which finished at `frames` has not, although it can have them."""
    arms = [] if run.meta.single else [run_dir / "arms.png"]
    visits = [] if run.env.grid_map() is None else [run_dir / "visits.png"]
    pictures = [run_dir / "learning_curve.png", *arms, *visits, *([film_of(run_dir, frames)] if run.video else [])]
    return [path for path in pictures if not path.exists()]


def film_of(run_dir: Path, frames: int) -> Path:
    """Name the film of what a run had learned at its end."""
    return run_dir / "videos" / f"frames_{frames:012d}.mp4"


def draw_film(loop: Loop) -> None:
    """Film greedy episodes, and show them."""
    parts, frames = loop.parts, loop.counters.frames
    path = film_of(parts.run_dir, frames)
    parts.greedy.film(parts.around.bonus, path, loop.watch_film)
    parts.logger.video(frames, path)
