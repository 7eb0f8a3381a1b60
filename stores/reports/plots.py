"""Plots of how well scores tell the classes apart, and of what a model learned. PNG bytes.

Curves come from scikit-learn. Intervals of metrics are not computed here; ``forest`` draws those
that were measured: slices and the gate's effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from models.contracts.learner import Vector
from stores.reports import Curves, LearningCurve, ReportError, words
from stores.reports.canvas import (
    DPI,
    INK,
    LINES,
    MARKERS,
    MUTED,
    OTHERS,
    colour,
    dress,
    figure,
    legend,
    plain,
    png,
)
from stores.reports.forest import effect, slices
from stores.reports.reliability import reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from models.core.metrics import Confusion

__all__ = [
    "calibration",
    "confusion",
    "effect",
    "importance",
    "learning_curves",
    "precision_recall",
    "roc",
    "slices",
]

Item = TypeVar("Item")


def roc(curves: Sequence[Curves], dpi: int = DPI) -> bytes:
    """ROC curves with each model's operating point (its threshold) marked."""
    from sklearn.metrics import auc, roc_curve

    drawn = figure(6.2)
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="Chance")
    for index, item in enumerate(_some(curves)):
        false, true, _ = roc_curve(item.labels, item.scores)
        decided = item.scores >= item.threshold
        point = (decided[item.labels == 0].mean(), decided[item.labels == 1].mean())
        _curve(axes, item, index, (false, true), point=point, note=f"area {auc(false, true):.3f}")
    dress(axes, "ROC curve", "False positive rate", "True positive rate (recall)")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    legend(drawn)
    return png(drawn, dpi)


def precision_recall(curves: Sequence[Curves], dpi: int = DPI) -> bytes:
    """Precision-recall curves, the base rate as a line, each operating point marked."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    drawn = figure(6.2)
    axes = drawn.subplots()
    base = float(_some(curves)[0].labels.mean())
    axes.axhline(base, color=MUTED, linewidth=1, linestyle=":", label=f"Base rate {base:.3f}")
    for index, item in enumerate(curves):
        precision, recall, _ = precision_recall_curve(item.labels, item.scores)
        decided = item.scores >= item.threshold
        hits = float(item.labels[decided].sum())
        point = (hits / item.labels.sum(), hits / decided.sum()) if decided.any() else None
        area = average_precision_score(item.labels, item.scores)
        # The last point, precision 1 at recall 0, is a convention and no measured threshold.
        _curve(axes, item, index, (recall[:-1], precision[:-1]), point=point, note=f"AP {area:.3f}")
    dress(axes, "Precision and recall", "Recall", "Precision")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    legend(drawn)
    return png(drawn, dpi)


def calibration(curves: Sequence[Curves], bins: int = 10, dpi: int = DPI) -> bytes:
    """Reliability diagram with Wilson intervals (95 %) above the distribution of scores.

    Give it the few models to compare (challenger and champion): intervals of many overlap.
    """
    from matplotlib.ticker import NullFormatter

    drawn = figure(7.6)
    top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="Perfect calibration")
    for index, item in enumerate(_some(curves)):
        found = reliability(item.labels, item.scores, bins)
        shown = np.array(found)
        spread = np.abs(shown[:, 3:].T - shown[:, 2])
        tint, mark = colour(item.role, index), MARKERS[item.role]
        top.errorbar(
            shown[:, 1], shown[:, 2], yerr=spread, color=tint, fmt=mark, markersize=7, capsize=4,
            linestyle=LINES[item.role], linewidth=1.5, label=plain(item.name),
        )  # fmt: skip
        bottom.hist(
            item.scores, bins=40, range=(0, 1), histtype="step", linewidth=1.8, color=tint,
            linestyle=LINES[item.role],
        )  # fmt: skip
    dress(top, "Calibration", "", "Observed share of positives")
    dress(bottom, "", "Predicted probability", "Rows (log)")
    bottom.set_yscale("log")
    bottom.yaxis.set_minor_formatter(NullFormatter())  # few rows: its labels would overlap
    top.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02))
    legend(drawn)
    return png(drawn, dpi)


def confusion(
    counts: Confusion, threshold: float, positive: str = "positive", dpi: int = DPI
) -> bytes:
    """Confusion matrix: counts, and percent of each row (of each true class)."""
    drawn = figure(5.0)
    axes = drawn.subplots()
    table = np.array(counts, dtype=float).reshape(2, 2)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(table):
        part = share[row, column]
        ink = "white" if part > 0.55 else INK
        text = f"{int(count):,}\n{100 * part:.1f} % of row"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=17)
    names = [plain(f"no {positive}"), plain(positive)]
    title = f"Confusion matrix at threshold {threshold:.3f}"
    dress(axes, title, "Decision of the model", "What happened", grid=None)
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.tick_params(labelsize=13)
    return png(drawn, dpi)


def importance(weights: Mapping[str, float], top: int = 15, dpi: int = DPI) -> bytes:
    """The heaviest inputs as bars, in percent of the whole weight."""
    ranked = sorted(_some(list(weights.items())), key=lambda pair: (-pair[1], pair[0]))[:top]
    names = [plain(name, 36) for name, _ in reversed(ranked)]
    percent = np.array([100 * value for _, value in reversed(ranked)])
    drawn = figure(1.6 + 0.34 * len(ranked))
    axes = drawn.subplots()
    axes.barh(range(len(names)), percent, color=colour("champion", 0), height=0.7)
    axes.set_yticks(range(len(names)), names)
    for place, value in enumerate(percent):
        axes.text(value, place, f" {value:.1f}", va="center", fontsize=12, color=INK)
    title = f"Importance: {len(ranked)} of {len(weights)} inputs"
    dress(axes, title, "Share of the model's weight (%)", "", grid="x")
    axes.set_xlim(0, max(float(percent.max()) * 1.1, 1e-6))
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    return png(drawn, dpi)


def learning_curves(curves: Sequence[LearningCurve], dpi: int = DPI) -> bytes:
    """Score against training rows: validation solid with ±1 SD, training dotted."""
    drawn = figure(6.0)
    axes = drawn.subplots()
    for index, item in enumerate(_some(curves)):
        tint = OTHERS[index % len(OTHERS)]
        mean, spread = np.array(item.validation), np.array(item.validation_sd)
        axes.fill_between(item.sizes, mean - spread, mean + spread, color=tint, alpha=0.2, lw=0)
        axes.plot(
            item.sizes, mean, color=tint, marker="o", lw=2.2,
            label=f"{plain(item.name)}, validation ± 1 SD",
        )  # fmt: skip
        axes.plot(
            item.sizes, item.train, color=tint, ls=":", marker="s", ms=4, lw=1.8,
            label=f"{plain(item.name)}, training",
        )  # fmt: skip
    dress(axes, "Learning curve", "Training rows", words.metric(curves[0].metric))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    legend(drawn)
    return png(drawn, dpi)


def _some(items: Sequence[Item]) -> Sequence[Item]:
    """The items, or an error when there are none: an empty plot would look like a bad model."""
    if not items:
        raise ReportError("nothing to draw: leave this plot out when nothing was measured")
    return items


def _curve(
    axes: Axes,
    item: Curves,
    index: int,
    line: tuple[Vector, Vector],
    *,
    point: tuple[float, float] | None,
    note: str,
) -> None:
    """One model's line and, where it has one, its operating point."""
    tint = colour(item.role, index)
    width, depth = (1.6, 2) if item.role == "candidate" else (2.4, 3)
    label, style = f"{plain(item.name)} ({note})", LINES[item.role]
    axes.plot(*line, color=tint, linestyle=style, linewidth=width, label=label, zorder=depth)
    if point is not None:
        mark = MARKERS[item.role]
        axes.plot(*point, color=tint, marker=mark, markersize=9, mec="white", zorder=depth + 1)
