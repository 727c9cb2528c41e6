"""What losses on action values measure."""

from modules.metrics import Metric

LOSS = Metric("loss/q", "loss", "mean loss over the updates since the last log event")
TD_ERROR = Metric(
    "loss/td_error",
    "value",
    "mean absolute TD error |δ| over the same updates; rescaled where loss.rescale_eps > 0",
)
VALUE_METRICS = (
    LOSS,
    TD_ERROR,
    Metric("loss/q_mean", "value", "mean predicted Q of the taken actions over the same updates; rescaled likewise"),
    Metric("loss/target_mean", "value", "mean target of that Q over the same updates; rescaled likewise"),
)
