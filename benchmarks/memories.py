"""The section about memories: what an update costs with each of them, on rows of several lengths."""

from collections.abc import Iterator

from benchmarks.measure import Pace, Table, interleave, number
from benchmarks.subjects import R2D2, learning, process_of, random_rows, run_of

LENGTHS = (40, 120, 500)
AGAINST = "lstm"
OTHERS = ("gru", "mingru", "lru")


def memories(pace: Pace) -> Iterator[Table]:
    """Learner steps/s of the memories against the LSTM's, by the length of rows."""
    yield Table(
        "Updates by memory and length of rows",
        ["rows", "lstm [updates/s]", *(f"{name} against lstm (min–max)" for name in OTHERS)],
        [memory_row(length, pace.part(len(LENGTHS))) for length in LENGTHS],
        notes=[
            f"{R2D2}: 128 units in each memory, in minGRU two layers of them; no burn-in; one batch again and again.",
            "Above 1 an update with this memory is faster than with the LSTM.",
        ],
        names=1,
    )


def memory_row(length: int, pace: Pace) -> list[str]:
    """Compare the memories on rows of one length."""
    sides, runs = {}, {}
    for name in (AGAINST, *OTHERS):
        runs[name] = run_of(R2D2, f"network/memory={name}", f"replay.length={length}", "replay.burn_in=0")
    with process_of(runs[AGAINST]):
        for name, run in runs.items():
            learner, batch = learning(run).learner, random_rows(run)
            sides[name] = lambda learner=learner, batch=batch: learner.step(batch)
        times = interleave(sides, pace)
    rows = f"{runs[AGAINST].replay.batch_rows} of {length} steps"
    return [rows, number(1 / times.median(AGAINST)), *(str(times.speed(name, AGAINST)) for name in OTHERS)]
