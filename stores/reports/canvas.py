"""The common look of every plot: palette, axes, PNG bytes. Knows nothing of what is drawn.

Figures are made with matplotlib's object API on the Agg canvas: no pyplot, no global state, so
plots may be drawn from several threads and leave nothing behind.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from stores.reports import Role

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Grid = Literal["both", "x", "y"]

#: Okabe and Ito's palette, told apart with any common colour blindness
#: (https://jfly.uni-koeln.de/color/); line styles and markers repeat what colour says.
BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
INK, MUTED, GRID = "#1f2328", "#59636e", "#e4e7eb"
OTHERS = (GREEN, PINK, ORANGE, SKY)
COLOURS: dict[Role, str] = {"challenger": VERMILION, "champion": BLUE}
LINES: dict[Role, str] = {"challenger": "-", "champion": "--", "candidate": "-."}
MARKERS: dict[Role, str] = {"challenger": "o", "champion": "s", "candidate": "^"}

WIDTH = 9.0  # inches: 900 px at 100 dpi, where 12 pt text is 17 px high
PAD = 0.14  # inches of white around the drawing
DPI = 100
THUMBNAIL_DPI = 60
PALETTE_SIZE = 96


def plain(text: str, length: int = 30) -> str:
    """Text as it is: ``$`` starts no formula, one line, not longer than ``length``."""
    line = " ".join(text.split())
    short = line if len(line) <= length else f"{line[: length - 1]}…"
    return short.replace("$", r"\$")


def colour(role: Role, index: int) -> str:
    """Colour of a model: fixed for challenger and champion, by position for the others."""
    return COLOURS.get(role, OTHERS[index % len(OTHERS)])


def figure(height: float = 5.4) -> Figure:
    """An empty figure, 9 inches wide, that leaves room for its labels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD)
    return Figure(figsize=(WIDTH, height), layout=room, facecolor="white")


def dress(axes: Axes, title: str, x: str, y: str, *, grid: Grid | None = "both") -> None:
    """Title, axis labels, grid and spines in the common style."""
    axes.set_title(title, loc="left", fontsize=15, fontweight="bold", color=INK, pad=12)
    axes.set_xlabel(x, fontsize=13, color=INK)
    axes.set_ylabel(y, fontsize=13, color=INK)
    axes.tick_params(labelsize=12, colors=INK, length=0)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)


def legend(drawn: Figure) -> None:
    """A legend below the axes, where it covers no curve."""
    drawn.legend(loc="outside lower center", ncols=2, fontsize=12, edgecolor=GRID)


def png(drawn: Figure, dpi: int = DPI) -> bytes:
    """Draw a figure as PNG bytes with few colours: a plot is 10 to 40 kB at 900 px.

    The same figure gives the same bytes: no date and no version is written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    drawn.set_dpi(dpi)
    canvas = FigureCanvasAgg(drawn)
    with warnings.catch_warnings():
        # A tenant's name may hold signs the font lacks: they are drawn as boxes, which is no error.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = image.quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
