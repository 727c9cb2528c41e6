"""A figure that a notebook shows without pyplot, whose import would change the user's own backend and settings."""

from matplotlib.figure import Figure

from modules.plots.figure import png


class InlineFigure(Figure):
    """A figure with the one method that IPython looks for."""

    def _repr_png_(self) -> bytes:
        return png(self)
