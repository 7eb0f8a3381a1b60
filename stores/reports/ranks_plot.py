"""Critical-difference diagram: average ranks on a line, bars over models that do not differ.

Source of the form: Demsar 2006, Statistical comparisons of classifiers over multiple data sets,
figure 1. The ranks and groups are given (``reports.Ranks``); nothing is tested here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.reports.canvas import (
    DPI,
    INK,
    MUTED,
    VERMILION,
    figure,
    plain,
    png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stores.reports import Ranks

#: Heights in units of a model's line.
BAR, FIRST = 0.35, 0.9


def critical_difference(found: Ranks, dpi: int = DPI) -> bytes:
    """The diagram, best rank at the left; names stand left and right of the axis."""
    order = np.argsort(found.ranks, kind="stable")
    left, k = (len(order) + 1) // 2, len(order)
    below = FIRST + BAR * len(found.cliques)
    drawn = figure(1.9 + 0.38 * (left + BAR * len(found.cliques)))
    axes = drawn.subplots()
    axes.set(xlim=(1 - 0.55 * (k - 1), k + 0.55 * (k - 1)), ylim=(below + left, -2.4))
    axes.axis("off")
    _scale(axes, found, k)
    for place, model in enumerate(order):
        side = "right" if place < left else "left"
        depth = below + (place if place < left else k - 1 - place)
        _model(axes, found, int(model), depth, side)
    for level, group in enumerate(found.cliques):
        ends = [found.ranks[model] for model in (group[0], group[-1])]
        height = 0.45 + BAR * level
        axes.plot(
            [ends[0] - 0.03, ends[1] + 0.03], [height, height], color=VERMILION, linewidth=4,
            solid_capstyle="round", zorder=3,
        )  # fmt: skip
    axes.set_title(
        f"Average rank over {found.sets} {found.over}", loc="left", fontsize=15, fontweight="bold",
        color=INK, pad=12,
    )  # fmt: skip
    return png(drawn, dpi)


def _scale(axes: Axes, found: Ranks, k: int) -> None:
    """The axis of the ranks, and the critical difference above it."""
    axes.plot([1, k], [0, 0], color=INK, linewidth=1.5)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, -0.2], color=INK, linewidth=1.5)
        axes.text(rank, -0.3, str(rank), ha="center", va="bottom", fontsize=12, color=INK)
    end = 1 + found.critical_difference
    axes.errorbar(
        (1 + end) / 2, -1.5, xerr=found.critical_difference / 2, color=MUTED, capsize=5, linewidth=2
    )
    text = f"critical difference {found.critical_difference:.2f}"
    axes.text(end + 0.05, -1.5, f" {text}", va="center", fontsize=12, color=MUTED)


def _model(axes: Axes, found: Ranks, model: int, depth: float, side: str) -> None:
    """From the rank down and out to the name, as in the figure of the paper."""
    rank, k = found.ranks[model], len(found.ranks)
    end = 1 - 0.04 * k if side == "right" else k + 0.04 * k
    axes.plot([rank, rank, end], [0, depth, depth], color=MUTED, linewidth=1.2)
    axes.plot(rank, 0, marker="o", markersize=6, color=INK, zorder=4)
    text = f" {plain(found.models[model], 26)} {rank:.2f} "
    axes.text(end, depth, text, ha=side, va="center", fontsize=12, color=INK)
