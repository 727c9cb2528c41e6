"""What watches training without changing it; those of Recall, and the base of one's own."""

from modules.callbacks.base import Callbacks, CallbackSpec, Context, Training, TrainingCallback

__all__ = ["CallbackSpec", "Callbacks", "Context", "Training", "TrainingCallback"]
