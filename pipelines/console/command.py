"""What the entry points share: bad input and failures of the file system as one sentence, and exit codes."""

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any, NoReturn

from hydra._internal import utils as hydra_utils

from modules.errors import NonFiniteError
from modules.files import describe_error
from modules.spec import UsageError
from pipelines.console.output import complain, escape_unprintable

USAGE_EXIT = 2


class RunFailed(Exception):  # noqa: N818 - it is the run that failed, in an orderly way
    """A run ended in an error that has been reported; whatever could be saved is."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the words of a command line in one sentence, as a `UsageError`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help.")


@contextmanager
def command() -> Iterator[None]:
    """Turn `UsageError` into its sentence on stderr and exit code 2, a failed run into exit code 1.

    What the file system refuses becomes a sentence too, with exit code 1.
    """
    logging.raiseExceptions = False  # else a full disk makes a traceback of every line of train.log
    escape_unprintable()
    try:
        yield
    except RunFailed as error:
        raise SystemExit(1) from error
    except UsageError as error:
        complain(str(error))
        raise SystemExit(USAGE_EXIT) from error
    except (OSError, NonFiniteError) as error:
        complain(describe_error(error) if isinstance(error, OSError) else str(error))
        raise SystemExit(1) from error


@contextmanager
def passed_by_hydra() -> Iterator[None]:
    """Leave failures of the file system in Hydra's own work to `command`: it makes folders and opens train.log.

    What submitit says of a job that was cancelled or lost becomes a sentence.
    """
    report = hydra_utils.run_and_report

    def passed(function: Callable[[], Any]) -> Any:
        failed: list[OSError] = []

        def tried() -> Any:
            try:
                return function()
            except OSError as error:
                failed.append(error)
            except Exception as error:
                if not type(error).__module__.startswith("submitit."):
                    raise
                complain(f"a job of the queue ended without a result: {shorten(str(error), 300, placeholder=' …')}")
                raise SystemExit(1) from error

        result = report(tried)  # which makes a traceback, or a sentence, of everything else
        if failed:
            raise failed[0]
        return result

    hydra_utils.run_and_report = passed
    try:
        yield
    finally:
        hydra_utils.run_and_report = report
