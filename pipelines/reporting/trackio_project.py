"""A local trackio project that holds what the tables of runs say, and the page that shows it."""

import contextlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from modules.loggers.base import dotted
from modules.plots.runs import Table, find_runs, is_run, read_table_if_any
from modules.spec import UsageError
from pipelines.config.plugins import read_yaml, refuse_lookups, values_of
from pipelines.config.schema import RunConfig
from pipelines.config.sweep_names import job_in
from pipelines.reporting.kinds import without_targets

HOST = "127.0.0.1"
WALL = "perf/wall_s"
MISSING = "the dashboard needs trackio: pip install 'recall-rl[dashboard]'."

Row = tuple[int, dict[str, float]]  # frames, and what was measured there


@dataclass
class Project:
    """Keeps a project of trackio the same as the runs in `places`, which may be in progress.

    Args:
        name: of the project.
        folder: where trackio keeps it; this process must not have imported trackio before.
        places: run directories, or folders above several.
    """

    name: str
    folder: Path
    places: Sequence[Path]
    _sent: dict[str, list[Row]] = field(default_factory=dict)  # by the run's id
    _wrong: dict[Path, str] = field(default_factory=dict)  # what was said of a run that cannot be shown

    def __post_init__(self) -> None:
        os.environ["TRACKIO_DIR"] = str(self.folder)  # read when it is imported
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            from trackio.sqlite_storage import SQLiteStorage  # pyright: ignore[reportMissingImports]
            from trackio.utils import TRACKIO_DIR  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UsageError(MISSING) from error
        if self.folder != TRACKIO_DIR:  # it would change a project of the user's
            raise RuntimeError(f"trackio was imported before, and keeps its projects in {TRACKIO_DIR}")
        self._storage = SQLiteStorage
        self.folder.mkdir(parents=True, exist_ok=True)

    def update(self) -> Iterator[str]:
        """Bring in what is new; a run whose rows were written again is replaced.

        Yields:
            A sentence for each run that cannot be shown, once.
        """
        runs = sorted(find_runs(self.places))
        names = named_within(self.places, runs)
        for path in runs:
            try:
                self._update(path, names[path])
            except UsageError as error:
                if self._wrong.get(path) != str(error):
                    self._wrong[path] = str(error)
                    yield str(error)

    def _update(self, path: Path, name: str) -> None:
        run_id = uuid5(NAMESPACE_URL, str(path.resolve())).hex
        rows, config = rows_of(path), config_of(path)
        sent = self._sent.get(run_id)
        if sent is None or rows[: len(sent)] != sent:
            sent = []
            self._storage.delete_run(self.name, name, run_id=run_id)
        began, job = (path / "config.yaml").stat().st_mtime, job_in(path)
        created = datetime.fromtimestamp(began, UTC).isoformat()
        if new := rows[len(sent) :]:
            self._storage.bulk_log(
                self.name,
                name,
                [measured for _, measured in new],
                steps=[frames for frames, _ in new],
                timestamps=[datetime.fromtimestamp(began + row.get(WALL, 0.0), UTC).isoformat() for _, row in new],
                config={**config, "_Group": job.group if job else "", "_Created": created},
                log_ids=[f"{run_id}-{number}" for number in range(len(sent), len(rows))],
                run_id=run_id,
            )
        self._sent[run_id] = rows

    @contextlib.contextmanager
    def served(self, port: int) -> Iterator[str]:
        """Show the project on this machine only, for reading; yields the address.

        Raises:
            UsageError: nothing can listen on `port`.
        """
        import trackio  # pyright: ignore[reportMissingImports]

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints an address that allows to write
                app, *_ = trackio.show(
                    self.name, host=HOST, server_port=port, share=False, open_browser=False, block_thread=False
                )
        except OSError as error:
            raise UsageError(f"--port {port}: nothing can listen there ({error}); take another.") from error
        try:
            yield f"http://{HOST}:{port}/?project={self.name}&smoothing=0"
        finally:
            app.close()


def named_within(places: Sequence[Path], runs: Sequence[Path]) -> dict[Path, str]:
    """Name each run of `places` by its folder, and by those above that are in the place or tell the places apart.

    So a name stays when other runs begin.
    """
    above = os.path.commonpath([os.path.abspath(place.parent if is_run(place) else place) for place in places])
    return {run: Path(os.path.relpath(os.path.abspath(run), above)).as_posix() for run in runs}


def rows_of(run_dir: Path) -> list[Row]:
    """Read the rows of metrics.csv, with those of timing.csv, of events that both have."""
    metrics, timing = (read_table_if_any(run_dir / f"{name}.csv") for name in ("metrics", "timing"))
    tables: list[Table] = [table for table in (metrics, timing) if table]
    count = min((len(table["frames"]) for table in tables), default=0)
    return [(int(metrics["frames"][i]), measured_at(tables, i)) for i in range(count)] if metrics else []


def measured_at(tables: Sequence[Table], i: int) -> dict[str, float]:
    """Return what was measured at the i-th event."""
    cells = {name: float(values[i]) for table in tables for name, values in table.items() if name != "frames"}
    return {name: value for name, value in cells.items() if math.isfinite(value)}


def config_of(run_dir: Path) -> dict[str, Any]:
    """Read the settings of a run, under dotted names, without importing anything."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise UsageError(f"'{run_dir}': there is no config.yaml, so it cannot be shown.")
    config = values_of(read_yaml(path))
    refuse_lookups(config, path)
    return dict(dotted(without_targets(config, RunConfig)))
