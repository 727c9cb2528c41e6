"""Which cases of a kind run by default, and which only with the slow tests."""

from collections.abc import Iterable

import pytest


def later(*values: object):
    """A further case of a kind that another case tests by default: it takes seconds, and there are many."""
    return pytest.param(*values, marks=pytest.mark.slow)


def some_later(cases: Iterable[object], now: Iterable[object]) -> list:
    """Let the cases that are not in `now` come later."""
    return [case if case in now else later(case) for case in cases]
