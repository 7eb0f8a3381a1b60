"""Training curves: loss and validation epoch by epoch, one panel per fit. Draws, fits nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.results import Candidate
from stores.reports import ReportError, TrainingCurve
from stores.reports.canvas import BLUE, DPI, GRID, INK, VERMILION, figure, plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Names the trainer gives its curves.
LOSS, VALIDATION = "train_loss", "validation"
COLUMNS, PANEL_HEIGHT = 2, 2.9
#: More panels than these make no readable page.
MAX_PANELS = 16


def training(curves: Sequence[TrainingCurve], dpi: int = DPI) -> bytes:
    """Loss on the left axis, validation on the right; the epoch that is kept is marked.

    Curves of one name (folds) share a panel. The first 16 names are drawn.

    Raises:
        ReportError: There are none.
    """
    named = attrgetter("name")
    panels = [list(group) for _, group in groupby(sorted(curves, key=named), named)][:MAX_PANELS]
    if not panels:
        raise ReportError("nothing to draw: leave this plot out when no fit went by epochs")
    rows = -(-len(panels) // COLUMNS)
    drawn = figure(0.9 + PANEL_HEIGHT * rows)
    grid = drawn.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    lines = [grid[0].lines[0], grid[0].child_axes[0].lines[0], grid[0].child_axes[0].lines[1]]
    drawn.legend(
        lines, ["training loss (left)", "validation (right, higher is better)", "kept epoch"],
        loc="outside lower center", ncols=3, fontsize=12, edgecolor=GRID,
    )  # fmt: skip
    return png(drawn, dpi)


def of_candidates(candidates: Iterable[Candidate]) -> list[TrainingCurve]:
    """Loss and validation by epoch of every fit that reported both.

    A fit of several parts names them before the curve (``gmf/train_loss``); folds share a panel.
    """
    found = []
    for one in candidates:
        for name in one.curves:
            part = name.removesuffix(LOSS)
            if part == name or f"{part}{VALIDATION}" not in one.curves:
                continue
            parts = [word for word in re.split(r"[/.]", part) if word and word[:5] != "fold-"]
            title = " ".join([f"{one.trial}:", *parts]) if parts else one.trial
            found.append(TrainingCurve(title, one.curves[name], one.curves[f"{part}{VALIDATION}"]))
    return found


def best_epoch(curve: TrainingCurve) -> int:
    """The first epoch with the highest validation, counted from 1: its weights are kept."""
    return int(np.argmax(curve.validation)) + 1


def _panel(axes: Axes, curves: Sequence[TrainingCurve]) -> None:
    from matplotlib.ticker import MaxNLocator

    # A child axes, not ``twinx``: the layout then keeps the panel's two scales together.
    right = axes.inset_axes((0, 0, 1, 1), sharex=axes)
    right.patch.set_visible(False)
    right.yaxis.tick_right()
    for curve in curves:
        epochs = np.arange(1, len(curve.loss) + 1)
        axes.plot(epochs, curve.loss, color=BLUE, ls="--", lw=1.8, marker=".", ms=5)
        right.plot(np.arange(1, len(curve.validation) + 1), curve.validation, color=VERMILION, lw=2)
        at = best_epoch(curve)
        right.plot(
            at, curve.validation[at - 1], marker="D", ms=8, color=VERMILION, ls="", mec="white"
        )
    axes.set_title(plain(curves[0].name, 34), loc="left", fontsize=12, color=INK)
    axes.set_xlabel("Epoch", fontsize=11, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.tick_params(axis="y", labelcolor=BLUE)
    right.tick_params(axis="y", labelcolor=VERMILION)
    right.tick_params(axis="x", bottom=False, labelbottom=False)
    for each in (axes, right):
        each.tick_params(labelsize=11, length=0)
        each.spines["top"].set_visible(False)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=1)
