"""Train: `python -m pipelines.train +exp=drqn_cartpole [setting=value …]`; `--help` lists every setting."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from modules.spec import UsageError
from pipelines.command import CONF, command, preflight
from pipelines.session import start


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Run one job and return its score, so that sweepers can maximise it."""
    hydra_cfg = HydraConfig.get()
    alone = hydra_cfg.mode == RunMode.RUN
    try:
        return start(cfg, Path(hydra_cfg.runtime.output_dir), bar=alone)
    except UsageError as error:
        if not alone:  # the other jobs of a multirun go on
            raise
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    with command():
        preflight(sys.argv[1:])
        main()
