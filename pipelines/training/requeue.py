"""Jobs that SLURM runs for submitit: the end of their time puts them into the queue again."""

import os
import signal
from collections.abc import Sequence

from omegaconf import DictConfig

from pipelines.console.signals import ASKING

OFTEN = "hydra.launcher.max_num_timeout"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
FROM_THE_QUEUE = signal.SIGUSR2  # which submitit has SLURM send before the time limit


def is_queued_job() -> bool:
    """Tell whether submitit started this process."""
    return "SUBMITIT_EXECUTOR" in os.environ


def asking() -> tuple[int, ...]:
    """The signals that ask a run to save and to end."""
    return (*ASKING, FROM_THE_QUEUE) if is_queued_job() else ASKING


def requeue(code: object) -> None:
    """Put the job into the queue again, if the queue's signal ended it with this exit `code`; does not return then.

    SIGTERM does not: `scancel` sends it, and after a preemption SLURM itself may put the job into the queue again.

    Raises:
        SystemExit: of submitit, whose own handler does it; it had to wait until the run was saved.
        UncompletedJobError: of submitit, if the job has been there too often.
    """
    handler = signal.getsignal(FROM_THE_QUEUE)
    if is_queued_job() and code == 128 + FROM_THE_QUEUE and callable(handler):
        handler(FROM_THE_QUEUE, None)


def requeued_often(words: Sequence[str], launcher: DictConfig) -> list[str]:
    """Let a job of SLURM go back into the queue after each time limit; submitit does not unless a number is said."""
    said = launcher.get("max_num_timeout") or any(word.lstrip("+").startswith(f"{OFTEN}=") for word in words)
    return [*words, *([] if said or launcher._target_ != SLURM else [f"{OFTEN}=1000"])]
