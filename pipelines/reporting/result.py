"""What a run left in its folder, to look at from Python and in a notebook."""

import importlib.util
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.spec import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, PICTURE = "report.md", re.compile(r"!\[([^\]]*)\]\(([^)]+\.png)\)\n?")
CURVE_DPI = 90  # of a curve inside a page; a notebook keeps every picture that it has shown
SHOWN = ("status", "frames", "train_episodes", "score", "best_score", "seed", "memory", "wall_s", "commit")


@dataclass(frozen=True)
class Result:
    """What a run left in its folder; a notebook shows its summary and its learning curve.

    Attributes:
        run_dir: the folder, of a run that has just ended or of any other.
    """

    run_dir: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json says: status, score, best_score, frames, …; raises `UsageError` if there is none."""
        path = Path(self.run_dir) / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: no summary of a run is there ({error})") from error

    @cached_property
    def metrics(self) -> Any:
        """The columns of metrics.csv, NaN where nothing was measured: `metrics["eval/return_mean"]`.

        A pandas `DataFrame` with one row per log event; where pandas is not installed, a mapping of arrays [rows].
        """
        from modules.plots.runs import read_table

        table = read_table(Path(self.run_dir) / "metrics.csv")
        if importlib.util.find_spec("pandas") is None:
            return table
        from pandas import DataFrame  # pyright: ignore[reportMissingImports] - if it is there

        return DataFrame(dict(table))

    @property
    def video(self) -> Path:
        """The newest film of the run; raises `UsageError` if there is none."""
        films = [*Path(self.run_dir).glob("videos/*.mp4")]
        if not films:
            raise UsageError(f"{self.run_dir}: no film is there; `python -m pipelines.evaluate … video=true` makes one")
        return max(films, key=lambda path: path.stat().st_mtime)

    def plot(self) -> "Figure":
        """Draw the learning curve; a notebook shows the figure. Raises `UsageError` if nothing was measured yet."""
        from modules.plots.curve import curve_figure

        figure = curve_figure(Path(self.run_dir))
        if figure is None:
            raise UsageError(f"{self.run_dir}: there is nothing to draw in metrics.csv")
        return figure

    def _repr_html_(self) -> str:
        try:
            rows = [(name, self.summary[name]) for name in SHOWN if self.summary.get(name) is not None]
        except UsageError as error:
            return f"<p>{escape(str(error))}</p>"
        table = html_table([("run", self.run_dir), *((name, readable(value)) for name, value in rows)])
        try:
            curve = html_picture(self.plot(), f"learning curve of {self.run_dir}")
        except UsageError:
            curve = ""
        return table + curve


@dataclass(frozen=True)
class Report:
    """What `pipelines.report` wrote; a notebook shows its tables and pictures.

    Attributes:
        folder: with report.md and its pictures.
    """

    folder: Path

    @cached_property
    def text(self) -> str:
        """The tables and notes, as Markdown."""
        return (self.folder / PAGE).read_text(encoding="utf-8")

    def _repr_html_(self) -> str:
        pictures = (html_image((self.folder / name).read_bytes(), what) for what, name in PICTURE.findall(self.text))
        return "".join(pictures) + f"<pre>{escape(PICTURE.sub('', self.text))}</pre>"


def readable(value: Any) -> str:
    """Write a number of the summary for people."""
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def html_table(rows: list[tuple[str, Any]]) -> str:
    """Make a table of names and values."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table>{cells}</table>"


def html_picture(figure: "Figure", what: str) -> str:
    """Make an image of a figure, small enough for a page."""
    from modules.plots.figure import png

    return html_image(png(figure, dpi=CURVE_DPI), what)


def html_image(data: bytes, what: str) -> str:
    """Make an image of the bytes of a PNG file."""
    from modules.plots.figure import with_palette

    inside = b64encode(with_palette(data)).decode()
    return f'<img alt="{escape(what)}" style="max-width:100%" src="data:image/png;base64,{inside}">'
