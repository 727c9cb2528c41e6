"""CSV: `metrics.csv`, reproducible byte for byte, `timing.csv`, which depends on the clock, and tables."""

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modules.files import naming_file, open_itself, refuse_link
from modules.loggers.base import Logger, Row, State
from modules.metrics import Metric
from modules.spec import UsageError

# The timing metrics are apart so that a resumed run's metrics.csv can be compared byte for byte with an uninterrupted
# run's.
METRICS, TIMING = "metrics", "timing"


class _Table:
    """One CSV file, its rows on disk as soon as they are written.

    Args:
        path: the file; it must not exist, or hold at least `offset` bytes under the same header.
        names: the columns after `frames`; None takes those of the file.
        offset: its length in bytes when the checkpoint was saved; None starts the file.
        kept: of a resumed run whose checkpoint knows no offset, because it was logged elsewhere then: the frames up to
            which the rows of a file that is there stay; None refuses such a file.

    Raises:
        UsageError: the file exists, is missing, is a link, is too short or has other columns.
    """

    def __init__(self, path: Path, names: tuple[str, ...] | None, offset: int | None, kept: int | None) -> None:
        refuse_link(path)
        self.names = names or ()
        self._path = path
        if offset is None and kept is not None and path.exists():
            offset = _bytes_up_to(path, kept)
        if offset is None:
            if path.exists():
                raise UsageError(f"{path} exists already: resume that run or choose another run directory.")
            self._file = open_itself(path, "xb", buffering=0)
            self._offset = self._file.write((",".join(("frames", *self.names)) + "\n").encode())
            return
        if not path.is_file() or path.stat().st_size < offset:
            raise UsageError(
                f"{path} is missing or shorter than the {offset} bytes that the checkpoint expects: "
                "restore it from a copy."
            )
        self._file = open_itself(path, "r+b", buffering=0)
        first, *there = self._file.readline().decode(errors="replace").rstrip("\n").split(",")
        if first != "frames" or set(names or ()) - set(there):
            self._file.close()
            raise UsageError(f"{path} has other columns than this version writes: resume with the commit of the run.")
        self.names = tuple(there)
        self._file.seek(max(0, offset - 1))
        if self._file.read(1) != b"\n":
            self._file.close()
            raise UsageError(f"{path} has no end of a row where the checkpoint expects one: restore it from a copy.")
        self._offset = offset

    def go_back(self) -> None:
        """Cut off the rows after the checkpoint, which the resumed run writes again."""
        self.cut(self._offset)

    def append(self, frames: int, rows: Iterable[Sequence[float | None]]) -> None:
        """Write the rows of one event, in one system call, so that a kill leaves no half of them."""
        # repr of a float is the shortest text that reads back as the same number.
        cells = (["" if value is None else repr(value) for value in row] for row in rows)
        data = "".join(",".join((str(frames), *row)) + "\n" for row in cells).encode()
        with naming_file(self._path):
            if self._file.write(data) < len(data):  # as a disk does that has room for a part of it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def cut(self, offset: int) -> None:
        """Take back what stands behind `offset` bytes."""
        self._file.truncate(offset)
        self._file.seek(offset)

    @property
    def end(self) -> int:
        """Its length in bytes."""
        return self._file.tell()

    def sync(self) -> int:
        """Force the rows to the disk; returns the length in bytes."""
        with naming_file(self._path):
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


class CsvLogger(Logger):
    """One row per log event in `metrics.csv` and `timing.csv` of `run_dir`; `pipelines.report` reads them.

    Tables have files of their own, which begin with their first row; pictures and films are files in it already.

    Args:
        metrics: that the run declares, in the order of their columns. A resumed run keeps the columns that there are.
        state: what `state()` gave at the checkpoint that the run resumes from, without the keys of this logger if
            it was not among the destinations then; None for a new run, which starts new files.
        frames: those of that checkpoint.

    Raises:
        UsageError: files that exist already, or that do not fit `state`.
    """

    def __init__(
        self, run_dir: Path, *, metrics: Iterable[Metric], state: Mapping[str, str | int] | None, frames: int = 0
    ) -> None:
        self._run_dir, self._kept = run_dir, None if state is None else frames
        if f"{METRICS}_csv" in (state or {}):
            self._kept = -1  # a table that the state does not know had no row yet
        self._tables: dict[str, _Table] = {}
        self._state: State | None = None
        offsets = {key.removesuffix("_csv"): int(at) for key, at in (state or {}).items() if key.endswith("_csv")}
        columns: dict[str, tuple[str, ...]] = {METRICS: (), TIMING: ()}
        for metric in metrics:
            columns[TIMING if metric.timing else METRICS] += (metric.name,)
        try:
            for name in dict.fromkeys((*columns, *offsets)):
                self._open(name, columns.get(name), offsets.get(name))
        except UsageError:
            self._close()
            raise
        for table in self._tables.values():  # only once all of them are there: one that is not changes none
            table.go_back()

    def _open(self, name: str, names: tuple[str, ...] | None, offset: int | None) -> _Table:
        self._tables[name] = _Table(self._run_dir / f"{name}.csv", names, offset, self._kept)
        return self._tables[name]

    def log(self, frames: int, metrics: Mapping[str, float]) -> None:
        """Append one row to each file of metrics, or to none if the disk is full; not measured = empty cell."""
        tables = [self._tables[METRICS], self._tables[TIMING]]
        cells = {name: float(value) for name, value in metrics.items()}
        self._append(frames, {table: [[cells.get(name) for name in table.names]] for table in tables})

    def table(self, name: str, frames: int, rows: Sequence[Row]) -> None:
        """Append rows to NAME.csv, all or none.

        Raises:
            ValueError: a name that no table can have, or other columns than those of its first row.
        """
        if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name in (METRICS, TIMING):
            raise ValueError(f"no table can be called {name!r}: letters, digits, _ and -, and not metrics or timing")
        columns = tuple(rows[0])
        table = self._tables.get(name)
        if table is None:
            table = self._open(name, columns, None)
            table.go_back()
        if any(tuple(row) != table.names for row in rows):
            raise ValueError(f"table {name} has the columns {', '.join(table.names)}, not {', '.join(columns)}")
        self._append(frames, {table: [list(row.values()) for row in rows]})

    def finish(self, summary: Mapping[str, object]) -> None:
        """Close the files; the summary is a file of its own."""
        del summary
        if self._state is None:
            self._state = self.state()
            self._close()

    def state(self) -> State:
        """Return the length of each file in bytes."""
        return self._state or {f"{name}_csv": table.sync() for name, table in self._tables.items()}

    def _append(self, frames: int, rows: Mapping[_Table, Iterable[Sequence[float | None]]]) -> None:
        """Take back what was written if not all of it could be: the checkpoint behind it counts these bytes."""
        ends = {table: table.end for table in rows}
        try:
            for table, new in rows.items():
                table.append(frames, new)
        except OSError:
            for table, end in ends.items():
                table.cut(end)
            raise

    def _close(self) -> None:
        for table in self._tables.values():
            table.close()


def _bytes_up_to(path: Path, frames: int) -> int:
    """Length of the header and of the whole rows of at most `frames`, which never fall from row to row."""
    length = 0
    with path.open("rb") as file:
        for i, line in enumerate(file):
            first = line.partition(b",")[0]
            if not line.endswith(b"\n") or (i and not (first.isdigit() and int(first) <= frames)):
                break
            length += len(line)
    return length
