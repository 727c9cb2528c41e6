"""Acting from Python and notebooks; part of `pipelines.api`. Imports no TorchRL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from modules.spec import UsageError
from pipelines.agent.acting import load_acting
from pipelines.agent.numpy_policy import NumpyPolicy
from pipelines.console.caller import fork_rngs, refusing_os_errors
from pipelines.sharing.hub import find_run

Which = Literal["best", "last"]


def load(
    run_dir: str | Path, checkpoint: str = "best", *, arm: int | None = None, plugins: Sequence[str] = ()
) -> NumpyPolicy:
    """Make a callable of what a run has learned: `action = policy(observation)`, `policy.reset()` between episodes.

    Args:
        run_dir: of the run; or `hub:USER/NAME`, a policy of the Hugging Face Hub (docs/sharing.md).
        checkpoint: `best`, the weights with the best evaluation during training, or `last`.
        arm: member of a family of policies; None takes the one that the run's own evaluations chose.
        plugins: modules of your own that the run imports; named here again, for the folder may not be yours.

    Raises:
        UsageError: there is no such run, checkpoint or arm.
    """
    if checkpoint not in get_args(Which):
        raise UsageError(f"checkpoint: it should be 'best' or 'last', not {checkpoint!r}")
    if not str(run_dir):
        raise UsageError("run_dir: the path is empty; a dot is the current folder")
    with fork_rngs(), refusing_os_errors():
        return NumpyPolicy(load_acting(find_run(Path(run_dir), plugins), checkpoint, arm, tuple(plugins)))
