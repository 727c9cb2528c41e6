"""The learning curve of a run that goes on."""

import logging
from collections.abc import Mapping
from time import perf_counter

from modules.callbacks.base import CallbackSpec, Context, Training, TrainingCallback
from modules.errors import told
from modules.plots.curve import SCORE, learning_curve
from modules.spec import Share, spec

log = logging.getLogger("recall")


@spec
class CurveSpec(CallbackSpec):
    """Settings of learning_curve.png while a run goes on; at its end it is drawn in any case.

    Attributes:
        share: of the run's time that drawing may take: an evaluation that comes too soon after the last picture is
            drawn with a later one. 1 draws at each.
    """

    share: Share

    def build(self, context: Context) -> TrainingCallback:
        return Curve(self.share)


class Curve(TrainingCallback):
    """Draws it at each evaluation, once the row of that is written."""

    def __init__(self, share: float) -> None:
        self._share, self._ended_s, self._took_s = share, perf_counter(), 0.0

    def on_row(self, training: Training, metrics: Mapping[str, float]) -> None:
        began_s = perf_counter()
        if SCORE not in metrics or self._took_s > self._share * (began_s - self._ended_s + self._took_s):
            return
        try:
            learning_curve(training.run_dir)
        except Exception as error:  # a picture is not worth a run
            log.warning("no learning curve: %s", told(error))
        self._ended_s = perf_counter()
        self._took_s = self._ended_s - began_s
