"""The checkpoint of the best evaluation."""

from collections.abc import Mapping
from typing import Any

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.evaluation import Episodes
from modules.metrics import SCORE
from modules.spec import spec


@spec
class BestSpec(CallbackSpec):
    """Settings of checkpoints/best.pt, the policy of the evaluation with the highest mean return."""

    def build(self, context: Context) -> TrainingCallback:
        return Best()


class Best(TrainingCallback):
    """Writes the file at each evaluation that is at least as good as all before."""

    def __init__(self) -> None:
        self._score: float | None = None

    def on_evaluation(self, training: Training, episodes: Episodes) -> None:
        score = episodes.metrics()[SCORE]
        if self._score is None or score >= self._score:
            self._score = score
            training.save_policy(training.run_dir / "checkpoints" / "best.pt")

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._score = state["score"]
