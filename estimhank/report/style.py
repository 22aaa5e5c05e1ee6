"""One look for every figure: colour-blind-safe colours, restrained axes, files that come out the same each time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette; every pair that shares a panel also differs in lightness or line style
EXACT, SURROGATE, PRIOR, MODE, LIMIT = "#0072B2", "#D55E00", "#8C8C8C", "#000000", "#CC3311"
CHAINS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5B5B5B", "#AA9F00")

#: Width of a full-width figure in inches.
WIDTH = 10.0

_RC: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.4,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "estimhank",
    "axes.unicode_minus": True,
}

#: Dots an inch of a PNG file: a page is read at some 116, so that text is sharp on finer screens too.
_DOTS = 144


@contextmanager
def figure_style() -> Iterator[None]:
    """The package's look inside the block; the caller's settings outside are left as they were."""
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # typed by key since matplotlib 3.11, which a dictionary cannot satisfy
        settings.update(_RC)
        yield


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as files.

    Attributes
    ----------
    name, caption, alt : str
        See :class:`ReportFigure`.
    size : tuple of float
        Width and height in inches.
    png : bytes
    svg : bytes, optional
        Where it was asked for.
    """

    name: str
    caption: str
    alt: str
    size: tuple[float, float]
    png: bytes
    svg: bytes | None = None


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure with its file name, a caption for print and a text for readers who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alt: str

    def to_svg(self) -> bytes:
        """SVG, text as outlines so that it looks the same everywhere."""
        # a date would make every file different; the dots are those of what is rasterised, dense scatters and traces
        return self._render("svg", 110, metadata={"Date": None})

    def to_png(self) -> bytes:
        """PNG at 144 dots an inch."""
        # the fastest compression: a tenth larger than the best, which takes as long as the drawing
        return self._render("png", _DOTS, metadata={"Software": None}, pil_kwargs={"compress_level": 3})

    def drawn(self, svg: bool = False) -> DrawnFigure:
        """The figure as files, which another process may have made: PNG, and SVG where it is wanted."""
        width, height = self.figure.get_size_inches()
        png = self.to_png()
        return DrawnFigure(
            self.name, self.caption, self.alt, (float(width), float(height)), png, self.to_svg() if svg else None
        )

    def _render(self, form: str, dpi: int, **options: Any) -> bytes:
        stream = io.BytesIO()
        with figure_style():
            self.figure.savefig(stream, format=form, dpi=dpi, **options)
        self.figure.set_layout_engine("none")  # the panels stay where they are; a second file is drawn in half the time
        return stream.getvalue()


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure with automatic layout, sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def panel_grid(panels: int, columns: int = 4, panel_height: float = 1.9) -> tuple[Figure, list[Axes]]:
    """A figure with at least ``panels`` panels in rows of ``columns``; surplus panels are removed but one, left blank.

    The blank one, if there is any, is the last of the list and takes the legend.
    """
    columns = min(columns, max(panels, 1))
    rows = -(-panels // columns)
    figure = new_figure(panel_height * rows + 0.3, WIDTH * max(columns, 2) / 4 if columns < 4 else WIDTH)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes[panels:]:
        axis.axis("off")
    return figure, axes


def place_legend(figure: Figure, axes: Sequence[Axes], panels: int, columns: int = 4) -> None:
    """Put one legend for all panels into the blank panel, or below the panels where there is none."""
    handles, labels = [], []
    for axis in axes[:panels]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    if len(axes) > panels:
        axes[panels].legend(handles, labels, loc="center left", borderaxespad=0)
    else:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def chain_colours(chains: int) -> list[str]:
    """A colour a chain: the palette for few chains, a scale of growing lightness for many."""
    if chains <= len(CHAINS):
        return list(CHAINS[:chains])
    scale = mpl.colormaps["viridis"]
    return [mpl.colors.to_hex(scale(v)) for v in np.linspace(0.0, 0.92, chains)]
