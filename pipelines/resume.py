"""Resume a run or a sweep: `python -m pipelines.resume run=DIR [total_frames=N] [setting=value …]`."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from modules.spec import UsageError
from pipelines.config.flags import SWEEP
from pipelines.config.settings import check_settings, parse_words
from pipelines.config.sweep_words import is_sweep, refuse_others, words_of
from pipelines.console.command import command
from pipelines.train import train
from pipelines.training.begin import LINE
from pipelines.training.resuming import CHANGEABLE, Resume, resume

MINE = ("run=", "plugins=")
USAGE = f"""python -m pipelines.resume run=DIR [setting=value ...]
  run=DIR          run directory to continue (required)
  total_frames=N   new end of the run, in env frames
  stop_at_score=X  new score that ends the run early, null for none
  stop_at_length=X the same for the length of episodes
  device=cpu|cuda  where the networks live from now on
  logger=NAME      where the numbers go from now on; logger.SETTING=... as for pipelines.train
  plugins=[FILE]   modules of your own that the run imports; named again each time, for the folder may not be yours
  run=SWEEP        folder of a sweep: continues every job, begins those that never began; hydra/launcher=NAME and
                   hydra.launcher.SETTING=... say who starts them
All that may be changed: {", ".join(CHANGEABLE)}.
What is not given stays as it was when the run was started; docs/python.md says what a change does."""


def settings_of(arguments: Sequence[str]) -> Resume:
    """Read the words of a command line; raises `UsageError` for a setting that cannot be changed any more."""
    values = parse_words(arguments, ("run", *CHANGEABLE, "plugins"), ("run", "logger"), USAGE)
    mine = {name: values.pop(name) for name in ("run", "plugins") if name in values}
    if fixed := [name for name in values if name not in CHANGEABLE and not name.startswith("logger.")]:
        raise UsageError(f"{fixed[0]}: it cannot be changed at a resume; what can is {', '.join(CHANGEABLE)}")
    return check_settings(Resume, {"plugins": (), **mine, "changes": values})


def resume_sweep(arguments: Sequence[str], folder: Path) -> None:
    """Continue every job of a sweep, and begin those that never began."""
    values = parse_words([word for word in arguments if word.startswith(MINE)], ("run", "plugins"), ("run",), USAGE)
    plugins = check_settings(Resume, {"plugins": (), "changes": {}, **values}).plugins
    others = [word for word in arguments if not word.startswith(MINE)]
    refuse_others(others, folder)
    train([SWEEP, *words_of(folder), *others], plugins)


def main(arguments: Sequence[str]) -> int:
    """Resume and train to the end."""
    with command():
        given = [Path(word.removeprefix("run=")) for word in arguments if word.startswith("run=")]
        if given and is_sweep(given[-1]):
            resume_sweep(arguments, given[-1])
            return 0
        logging.basicConfig(level=logging.INFO, format=LINE)
        resume(settings_of(arguments), bar=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
