"""Where a run's numbers go: nowhere, CSV, TensorBoard, W&B or several at once, all under one schema."""

from modules.loggers.base import Logger
from modules.loggers.console import Progress, Waiting, in_notebook
from modules.loggers.spec import LoggerContext, LoggerSpec

__all__ = ["Logger", "LoggerContext", "LoggerSpec", "Progress", "Waiting", "in_notebook"]
