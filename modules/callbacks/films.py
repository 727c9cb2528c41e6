"""Films of training's progress."""

from collections.abc import Mapping
from typing import Any

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.evaluation import Episodes
from modules.spec import Count, RunConfig, spec


@spec
class FilmsSpec(CallbackSpec):
    """Settings of the films between the first evaluation and the film at the end, which `video` asks for.

    Attributes:
        every: evaluations from one film to the next; 0 means none.
    """

    every: Count

    def applies(self, run: RunConfig) -> bool:
        return run.video and self.every > 0

    def build(self, context: Context) -> TrainingCallback:
        return Films(self.every)


class Films(TrainingCallback):
    """Films greedy episodes after every k-th evaluation."""

    def __init__(self, every: int) -> None:
        self._every, self._evaluations = every, 0

    def on_evaluation(self, training: Training, episodes: Episodes) -> None:
        self._evaluations += 1
        if self._evaluations % self._every == 0:
            path = training.run_dir / "videos" / f"frames_{training.frames:012d}.mp4"
            training.film(path)
            training.logger.video(training.frames, path)

    def state_dict(self) -> dict[str, Any]:
        return {"evaluations": self._evaluations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._evaluations = state["evaluations"]
