"""What the entry points share: bad input as one sentence before anything exists, and exit codes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from modules.spec import UsageError
from pipelines.check import check
from pipelines.schema import read

CONF = str(Path(__file__).resolve().parents[1] / "conf")
USAGE_EXIT = 2


@contextmanager
def command() -> Iterator[None]:
    """Turn `UsageError` into its sentence on stderr and exit code 2."""
    try:
        yield
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(USAGE_EXIT) from error


def preflight(overrides: Sequence[str]) -> None:
    """Read and check a single run before Hydra makes its folder; flags (--help, -m, …) are left to Hydra."""
    if any(word.startswith("-") for word in overrides):
        return
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            cfg = compose("config", list(overrides), return_hydra_config=True)
            run_dir = Path(cfg.hydra.run.dir)
            del cfg.hydra
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(plain(error)) from error
    finally:
        GlobalHydra.instance().clear()
    refuse_existing(run_dir)
    check(read(cfg), run_dir)


def refuse_existing(run_dir: Path) -> None:
    """Raise `UsageError` if `run_dir` holds a run already."""
    if any((run_dir / name).exists() for name in ("config.yaml", "checkpoints", "summary.json")):
        raise UsageError(
            f"{run_dir}: a run is there already; go on with it by `python -m pipelines.resume run={run_dir}` "
            "or choose another hydra.run.dir"
        )


def plain(error: BaseException) -> str:
    """Put what Hydra says over several lines, and the cause behind it, into one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines[: next((i for i, line in enumerate(lines) if line.startswith("Config search path")), None)]
    if error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("object_type=", "full_key:"))]
    return " ".join(dict.fromkeys(kept))
