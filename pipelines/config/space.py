"""What a sweeper may choose from: its words, and the points at which it is checked before a trial starts."""

from collections.abc import Iterator, Sequence

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from modules.spec import UsageError

INSIDE = 0.382  # of an interval: a place where a whole number is unlikely


def points(space: Sequence[Override]) -> Iterator[list[str]]:
    """Yield the overrides of one job per end and per choice, where all others have their first value."""
    values = {override.get_key_element(): looked_at(override) for override in space}
    first = {key: words[0] for key, words in values.items()}
    yield list(first.values())
    for key, words in values.items():
        for word in words[1:]:
            yield [*(first | {key: word}).values()]


def looked_at(override: Override) -> list[str]:
    """The words of one override at which its values are looked at: both ends, every choice, or the one that it has.

    Raises:
        UsageError: there is nothing to choose from.
    """
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={number!r}" for number in numbers(override, value)]
    if not override.is_sweep_override():
        return [override.input_line or key]
    words = [f"{key}={text}" for text in override.sweep_string_iterator()]
    if not words:
        raise UsageError(f"{override.input_line}: there is nothing to choose from")
    return [words[0], words[-1]] if isinstance(value, RangeSweep) else words


def numbers(override: Override, interval: IntervalSweep) -> list[float]:
    """Both ends of an interval, and a number in it that is not whole if there may be one."""
    start, end = interval.start, interval.end
    assert start is not None
    assert end is not None
    if start >= end:
        raise UsageError(f"{override.input_line}: the interval must begin below its end")
    if "log" in interval.tags and start <= 0:
        raise UsageError(f"{override.input_line}: an interval of logarithms must begin above 0")
    whole = isinstance(start, int) and isinstance(end, int)
    return [start, end] if whole else [start, end, start + INSIDE * (end - start)]
