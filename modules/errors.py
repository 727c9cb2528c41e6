"""Errors that end a run in one sentence."""

import logging
from collections.abc import Callable

from modules.files import describe_error
from modules.spec import UsageError

log = logging.getLogger("recall")


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or what a network gives is NaN or infinite; says what. Nothing was changed by it."""


class BadValueError(NonFiniteError):
    """An environment gave what nothing can be learned from: NaN, outside its space, no picture, beyond float32."""


class Exited(RuntimeError):  # noqa: N818 - it is the code of a user's that did
    """Code of a user's wanted to end the process, a worker's; says how. `SystemExit` itself would end it."""


def told(error: BaseException) -> str:
    """Say in one line what `error` is; `SystemExit` is one where code of a user's ends the process."""
    if isinstance(error, SystemExit):
        return f"sys.exit({'' if error.code is None else repr(error.code)}) was called"
    if isinstance(error, OSError):
        return describe_error(error)
    text = " ".join(str(error).split())
    if isinstance(error, NonFiniteError | UsageError | Exited):  # which say it all
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def close_quietly(what: str, how: Callable[[], object], level: int = logging.WARNING) -> bool:
    """Close `what`, and tell whether that went well.

    If not, it is logged: it must neither hide an error before it nor keep the rest from closing.
    """
    try:
        how()
        return True
    except (Exception, SystemExit) as error:
        log.log(level, "%s could not be closed: %s", what, told(error))
        return False
