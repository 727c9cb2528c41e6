"""Schedules: pure functions of the frame count, so that a checkpoint need not store them."""


def linear(frames: int, *, start: float, end: float, over: int) -> float:
    """Go from `start` to `end` in a straight line over the first `over` frames, then stay."""
    return end if frames >= over else start + (end - start) * frames / over


def is_due(every: int, before: int, now: int) -> bool:
    """Tell whether a multiple of `every` frames lies in (before, now]; 0 means never."""
    return every > 0 and now // every > before // every
