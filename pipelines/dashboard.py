"""Show runs as a page on this machine: `python -m pipelines.dashboard RUN_DIRS…`; it grows while they run.

`python -m pipelines.dashboard wandb project=NAME` makes a workspace and a report in your W&B account.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from modules.plots.runs import find_runs
from modules.spec import UsageError
from pipelines.config.settings import folder
from pipelines.console.command import Parser, command
from pipelines.console.output import complain, write
from pipelines.reporting import wandb_pages
from pipelines.reporting.terminal_charts import show_in_terminal
from pipelines.reporting.trackio_project import Project

NAME, WANDB = "recall", "wandb"
PORTS = range(1024, 65536)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m pipelines.dashboard", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("runs", nargs="+", type=folder, help="run directories, or folders above several")
    add("--port", type=int, default=7860, help="of 127.0.0.1, where the page is (%(default)s)")
    add("--every", type=float, default=5.0, metavar="SECONDS", help="between two looks at the runs (%(default)s)")
    add("--out", type=folder, help="keep the trackio project in this folder; otherwise it ends with the command")
    add("--terminal", action="store_true", help="W&B's charts in this terminal instead, of runs with logger=wandb")
    add("--fill", action="store_true", help="fill the project in --out and end: `TRACKIO_DIR=OUT trackio show`")
    options = parser.parse_args(argv)
    if options.port not in PORTS:
        raise UsageError(f"--port {options.port}: it must be {PORTS.start} to {PORTS.stop - 1}.")
    if not 0.1 <= options.every <= 3600:
        raise UsageError(f"--every {options.every}: it must be 0.1 to 3600 seconds.")
    if options.fill and options.out is None:
        raise UsageError("--fill needs --out, the folder of what it fills.")
    return options


def dashboard(options: argparse.Namespace) -> None:
    """Fill a project with the runs and, unless it is only to be filled, show it until Ctrl-C."""
    find_runs(options.runs)  # before anything is made
    with ExitStack() as stack:
        place = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recall-dashboard-")))
        project = Project(NAME, place, options.runs)
        for problem in project.update():
            complain(problem)
        if options.fill:
            write(f"filled: TRACKIO_DIR={place} trackio show --project {NAME}\n")
            return
        address = stack.enter_context(project.served(options.port))
        write(f"{address}  (Ctrl-C ends it)\n")
        try:
            while True:
                time.sleep(options.every)
                update(project)
        except KeyboardInterrupt:
            return


def update(project: Project) -> None:
    """Bring in what is new, and say what cannot be shown."""
    try:
        for problem in project.update():
            complain(problem)
    except UsageError as error:  # no run is there just now, as when the only one begins anew
        complain(str(error))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; input that cannot be shown ends in `SystemExit` with code 2."""
    words = sys.argv[1:] if argv is None else argv
    with command():
        if words[:1] == [WANDB]:
            wandb_pages.create(words[1:])
        elif (options := _parse(words)).terminal:
            return show_in_terminal(options.runs)
        else:
            dashboard(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
