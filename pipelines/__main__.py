"""All commands as one: `recall train …` is `python -m pipelines.train …`, and so on."""

import os
import runpy
import sys
from collections.abc import Sequence

from pipelines import refuse_shadowed_modules
from pipelines.console.output import complain

COMMANDS = {
    "train": "train a run, or several with -m",
    "resume": "continue a run, or all of a sweep, from the newest checkpoints",
    "evaluate": "play held-out episodes with what a run has learned, or at random",
    "estimate": "say how many workers a run can use, and what limits it",
    "play": "play a task yourself, in a terminal",
    "report": "compare runs over seeds, in tables and pictures",
    "dashboard": "show runs in the browser while they run",
    "study": "say and draw what a study of Optuna found",
    "export": "write the greedy policy for torch.export or ONNX",
    "share": "put a policy with its card on the Hugging Face Hub, or into a folder",
}
USAGE_EXIT = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that the first word names with the others."""
    name, *others = words or sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        sys.stdout.write("recall COMMAND …, or python -m pipelines.COMMAND …\n")
        sys.stdout.writelines(f"  {command:<10} {text}\n" for command, text in COMMANDS.items())
        return 0
    if name not in COMMANDS:
        complain(f"{name}: no such command; there are {', '.join(COMMANDS)}")
        return USAGE_EXIT
    sys.path.insert(0, os.getcwd())  # where files of one's own lie; `python -m` looks there too
    try:
        refuse_shadowed_modules()
    except ImportError as error:
        complain(str(error))
        return USAGE_EXIT
    sys.argv = [name, *others]
    runpy.run_module(f"pipelines.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
