"""Recall from Python and notebooks: compose, train, look at a run, act with what it learned (docs/python.md).

Each name is imported when it is asked for: to load a policy and act takes little more than PyTorch.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modules.callbacks import CallbackSpec, TrainingCallback
    from modules.evaluation import Callback, Step
    from modules.metrics import Metric
    from modules.spec import UsageError
    from pipelines.agent.api import evaluate
    from pipelines.agent.load import load
    from pipelines.agent.numpy_policy import NumpyPolicy
    from pipelines.console.command import RunFailed
    from pipelines.reporting.result import Report, Result
    from pipelines.training.api import Settings, compose, report, resume, sweep, train

__all__ = [
    "Callback",
    "CallbackSpec",
    "Metric",
    "NumpyPolicy",
    "Report",
    "Result",
    "RunFailed",
    "Settings",
    "Step",
    "TrainingCallback",
    "UsageError",
    "compose",
    "evaluate",
    "load",
    "report",
    "resume",
    "sweep",
    "train",
]
WHERE = MappingProxyType(
    {
        "modules.callbacks": ("CallbackSpec", "TrainingCallback"),
        "modules.evaluation": ("Callback", "Step"),
        "modules.metrics": ("Metric",),
        "modules.spec": ("UsageError",),
        "pipelines.agent.api": ("evaluate",),
        "pipelines.agent.load": ("load",),
        "pipelines.agent.numpy_policy": ("NumpyPolicy",),
        "pipelines.console.command": ("RunFailed",),
        "pipelines.reporting.result": ("Report", "Result"),
        "pipelines.training.api": ("Settings", "compose", "report", "resume", "sweep", "train"),
    }
)


def __getattr__(name: str) -> Any:
    """Import a name of `WHERE`."""
    for module, names in WHERE.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what can be imported, for whoever completes names."""
    return __all__
