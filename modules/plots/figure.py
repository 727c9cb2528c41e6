"""What all pictures share: style, colours, the axis of frames, the picture as bytes.

matplotlib is imported inside the functions that draw: a training should not wait for it at its start.
Colours: Okabe and Ito (2008), distinct for colour-blind readers; line styles differ as well.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.files import write_bytes
from modules.plots.runs import SUMMARY, read_json
from modules.spec import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE = "#CC79A7", "#56B4E9", "#E69F00"
BLACK, GREY = "#000000", "#666666"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LINES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
FORMATS = {"png": ["Software"], "pdf": ["Creator", "Producer", "CreationDate"], "svg": ["Date", "Creator"]}
"""Kinds of files that a figure may be, and what such a file would say of its making: a version or the time."""
EMPTY = "#EEEEEE"  # cells of a map that have no value


@contextmanager
def figure_of(size_inch: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure in our style, without pyplot, whose import would change the user's own backend and settings."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class InlineFigure(Figure):
        def _repr_png_(self) -> bytes:  # a notebook looks for it
            return png(self)

    with matplotlib.rc_context(STYLE):
        figure = InlineFigure(figsize=size_inch, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def png(figure: Figure, *, dpi: int = 130) -> bytes:
    """Draw the figure as PNG with `dpi` pixels per inch."""
    return drawn_as(figure, "png", dpi=dpi)


def drawn_as(figure: Figure, kind: str, *, dpi: int = 130) -> bytes:
    """Draw the figure as one of `FORMATS`; equal numbers give equal bytes."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "recall", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dict.fromkeys(FORMATS[kind]))
    return buffer.getvalue()


def with_palette(data: bytes) -> bytes:
    """Make a PNG file a third as large by a palette of 256 colours, for pages that hold their pictures."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as a PNG file; return its path."""
    write_bytes(path, png(figure))
    return path


def run_title(run_dir: Path) -> str:
    """Name the run by what its summary.json says; "" if there is none."""
    try:
        summary = read_json(run_dir / SUMMARY)
        return f"{summary['exp']}, memory {summary['memory']}, seed {summary['seed']}"
    except (UsageError, KeyError):
        return ""  # A title is a courtesy: the curve of a run without a summary is drawn all the same.


def frames_axis(axes: Axes) -> None:
    """Let the horizontal axis count environment frames."""
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel("environment frames")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
