"""Train: `python -m pipelines.train +exp=drqn_cartpole [setting=value …]`; `--help` lists every setting."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from modules.errors import told
from modules.spec import UsageError
from pipelines.config.flags import SWEEP, arrange_flags
from pipelines.config.hints import CONF, to_hydra
from pipelines.config.sweep_names import leave_out_fixed
from pipelines.console.command import RunFailed, command, passed_by_hydra
from pipelines.console.output import escape_unprintable
from pipelines.training.jobs import is_abandoned, is_worker, name_in_log, note_failed
from pipelines.training.preflight import preflight
from pipelines.training.requeue import requeue, requeued_often
from pipelines.training.resuming import start_or_resume


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Run one job and return its score, so that sweepers can maximise it."""
    logging.raiseExceptions = False  # in a worker of joblib, where there is no `command`
    escape_unprintable()
    hydra_cfg = HydraConfig.get()
    alone = hydra_cfg.mode == RunMode.RUN  # not one of several jobs, whose bars would overwrite each other
    run_dir = Path(hydra_cfg.runtime.output_dir)
    if alone:
        with command():
            return start_or_resume(cfg, run_dir, bar=True)
    if is_abandoned():
        os._exit(128 + signal.SIGTERM)  # a job that was waiting here when its multirun ended
    name_in_log(hydra_cfg.job.num, cfg.get("seed"))
    failed = partial(note_failed, Path(hydra_cfg.sweep.dir), run_dir, hydra_cfg.overrides.task)
    try:
        return start_or_resume(cfg, run_dir, bar=False)
    except Exception as error:  # Hydra lets the other jobs continue, and shows this at the end
        raise failed(str(error) if isinstance(error, UsageError | RunFailed) else told(error)) from error
    except (
        SystemExit
    ) as error:  # a signal; in a queue, the job waits there again; alone in a process, it ends the whole multirun
        if is_abandoned():
            os._exit(128 + signal.SIGTERM)  # nobody takes the result, and the jobs that wait must not start
        if is_worker():
            raise failed("stopped by a signal") from error
        try:
            requeue(error.code)
        except Exception as refused:  # submitit's: too often
            raise failed(told(refused)) from refused
        raise


def train(words: Sequence[str], plugins: Sequence[str] | None = None) -> None:
    """Run what the words of a command line say; in `plugins` is what the user has named, if the words are not his."""
    sys.argv[1:] = to_hydra(arrange_flags(words))
    if SWEEP in sys.argv:
        sys.argv[1:] = leave_out_fixed(sys.argv[1:])
    if (hydra_settings := preflight(sys.argv[1:], plugins)) is not None:
        sys.argv[1:] = requeued_often(sys.argv[1:], hydra_settings.launcher)
    if SWEEP in sys.argv:
        os.environ.pop("WANDB_RUN_ID", None)  # it names one run, and here are several
        # joblib would kill its workers, which the terminal's Ctrl-C reaches as well, in the middle of saving.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with passed_by_hydra():
        main()


if __name__ == "__main__":
    with command():
        train(sys.argv[1:])
