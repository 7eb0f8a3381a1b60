"""What a person sees of an evaluation: plots, page, tables, Markdown and the Evidently report."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib._pylab_helpers import Gcf
from PIL import Image

from models.contracts.results import Estimate
from models.core import metrics
from stores.reports import (
    Curves,
    LearningCurve,
    ReportError,
    TrainingCurve,
    plots,
    ranks_plot,
    training_plot,
    words,
)
from stores.reports.evidently_report import write_evidently
from stores.reports.reliability import reliability
from tests.unit.report_sample import (
    CARDS,
    CHAMPION,
    CURVES,
    DATA,
    DECISION,
    LABELS,
    LEARNING,
    NASTY,
    RANKS,
    SCORES,
    candidate,
)

VERMILION, BLUE = "#D55E00", "#0072B2"


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.nonzero(np.abs(image - wanted).sum(axis=2) < 40)


DRAWN = {
    "roc": lambda dpi: plots.roc(CURVES, dpi),
    "precision_recall": lambda dpi: plots.precision_recall(CURVES, dpi),
    "calibration": lambda dpi: plots.calibration(CURVES, dpi=dpi),
    "confusion": lambda dpi: plots.confusion(DATA.confusion, 0.37, "conflict", dpi),
    "importance": lambda dpi: plots.importance(CARDS[2].importance, dpi=dpi),
    "learning_curves": lambda dpi: plots.learning_curves([LEARNING], dpi),
    "training": lambda dpi: training_plot.training(DATA.training, dpi),
    "critical_difference": lambda dpi: ranks_plot.critical_difference(RANKS, dpi),
    "slices": lambda dpi: plots.slices(CARDS[2], CARDS[0], "roc_auc", dpi),
    "effect": lambda dpi: plots.effect(DECISION, dpi),
}


@pytest.mark.parametrize("name", DRAWN)
def test_plot_is_a_small_png_of_the_promised_width(name):
    full, small = DRAWN[name](100), DRAWN[name](60)
    assert pixels(full).shape[1] == 900
    assert pixels(small).shape[1] == 540
    assert len(full) < 60_000
    assert len(small) < 20_000
    assert (pixels(full) < 200).any(axis=2).mean() > 0.01  # something is drawn


def test_plots_are_repeatable_and_leave_no_global_state_behind():
    before, managed = mpl.rcParams.copy(), Gcf.get_num_fig_managers()
    drawn = [plots.slices(CARDS[2], CARDS[0], "roc_auc", 60) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert mpl.rcParams.copy() == before
    assert Gcf.get_num_fig_managers() == managed


def test_importing_the_reports_stays_light():
    code = (
        "import sys, stores.reports.page, stores.reports.tables, stores.reports.evidently_report\n"
        "heavy = {'matplotlib', 'sklearn', 'pandas', 'evidently', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_better_curve_runs_nearer_to_the_corner():
    good = Curves("good", LABELS, LABELS * 0.8 + 0.1, 0.5, "challenger")
    bad = Curves("bad", LABELS, 1 - LABELS * 0.8 - 0.1, 0.5, "champion")
    image = pixels(plots.roc([good, bad]))
    up_left = image[: len(image) // 3, : image.shape[1] // 3]
    down_right = image[len(image) // 2 : int(len(image) * 0.78), -image.shape[1] // 3 :]
    assert near(up_left, VERMILION)[0].size > 100 > near(up_left, BLUE)[0].size
    assert near(down_right, BLUE)[0].size > 100 > near(down_right, VERMILION)[0].size


@pytest.mark.parametrize(("value", "side"), [(0.2, 1), (-0.2, -1)])
def test_effect_stands_on_its_side_of_no_difference(value, side):
    effect = Estimate(value=value, low=value - 0.04, high=value + 0.04)
    image = pixels(plots.effect(DECISION.model_copy(update={"effect": effect})))
    middle = image[image.shape[0] // 4 : image.shape[0] // 2]
    zero = np.median(near(middle, "#59636e")[1])  # the solid and the dashed line, close together
    columns = np.bincount(near(image, VERMILION)[1])
    marker, interval = columns.argmax(), np.mean(np.nonzero(columns)[0])
    assert np.sign(interval - zero) == side
    assert abs(marker - interval) < 5  # the value stands in the middle of this interval


def test_first_champion_is_drawn_against_its_floor_and_a_missing_bound_is_named():
    first = DECISION.model_copy(update={"champion": None, "effect": None})
    assert near(pixels(plots.effect(first)), VERMILION)[0].size > 100
    with pytest.raises(ReportError, match="lacks 'floor'"):
        plots.effect(first.model_copy(update={"policy": {}}))


def test_an_effect_that_is_not_defined_is_said_to_be_so():
    unknown = Estimate(value=float("nan"), low=float("nan"), high=float("nan"))
    image = pixels(plots.effect(DECISION.model_copy(update={"effect": unknown})))
    assert near(image, VERMILION)[0].size == 0  # no interval, only the words


def test_critical_difference_diagram_has_the_bars_of_the_paper():
    # Demsar 2006, section 3.2.2: average ranks 3.143, 2.000, 2.893, 1.964; critical difference 1.25
    assert RANKS.ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert RANKS.critical_difference == pytest.approx(1.25, abs=5e-3)
    image = pixels(ranks_plot.critical_difference(RANKS))
    rows, columns = near(image, VERMILION)
    bars = np.flatnonzero(np.bincount(rows) > 50)
    assert 1 + (np.diff(bars) > 1).sum() == len(RANKS.cliques) == 1  # one group: 1.18 < 1.25
    scale = np.flatnonzero((image[bars[0] - 40 : bars[0]].sum(axis=2) < 150).sum(axis=0) > 0)
    share = np.ptp(columns) / (scale.max() - scale.min())
    assert share == pytest.approx((3.143 - 1.964) / 3, abs=0.05)  # the axis runs from 1 to 4


def test_training_keeps_the_first_best_epoch_and_draws_a_panel_per_fit():
    assert training_plot.best_epoch(TrainingCurve("m", (3, 2, 1), (0.5, 0.8, 0.8))) == 2
    lone = TrainingCurve("m", (1, 0.5), (0.2, 0.6))
    folds, apart = ([lone, TrainingCurve(name, (1, 0.5), (0.2, 0.6))] for name in ("m", "n"))
    one, two = (near(pixels(training_plot.training(c)), VERMILION)[1] for c in (folds, apart))
    assert np.sum(one[one > 450] > 0) < two[two > 450].size / 2  # the right half is another fit
    with pytest.raises(ReportError, match="at least one epoch"):
        TrainingCurve("m", (), ())
    with pytest.raises(ReportError, match="no fit went by epochs"):
        training_plot.training([])


def test_curves_of_a_candidate_are_found_by_the_trainers_names():
    curves = {
        "train_loss": (2.0, 1.0), "validation": (0.1, 0.3), "learning_rate": (1e-3, 1e-3),
        "fold-1/train_loss": (4.0,), "fold-1/validation": (0.2,), "gmf/train_loss": (3.0,),
        "gmf/validation": (0.4,), "other/train_loss": (9.0,), "loss": (8.0,),
    }  # fmt: skip
    found = training_plot.of_candidates([
        candidate("9" * 16, "net").model_copy(update={"curves": curves}),
        candidate("8" * 16, "no_epochs"),
    ])  # fmt: skip
    assert [(one.name, one.loss, one.validation) for one in found] == [
        ("net", (2.0, 1.0), (0.1, 0.3)),
        ("net", (4.0,), (0.2,)),
        ("net: gmf", (3.0,), (0.4,)),
    ]


def test_slices_plot_stays_readable_with_a_hundred_tenants():
    overall = CARDS[2].metrics["overall"]
    many = {"overall": overall} | {f"tenant={i}": overall for i in range(100)}
    card = CARDS[2].model_copy(update={"metrics": many, "rows": dict.fromkeys(many, 6)})
    assert pixels(plots.slices(card, None, "roc_auc")).shape[0] < 1500
    with pytest.raises(ReportError, match="measured on no slice"):
        plots.slices(card, None, "log_loss")


def test_reliability_counts_every_row_and_has_wilsons_interval():
    scores = np.repeat([0.1, 0.7], 10)
    labels = np.array([0.0] * 9 + [1.0] + [1.0] * 8 + [0.0] * 2)
    low, high = reliability(labels, scores, bins=2)
    assert (low.rows, low.predicted, low.observed) == (10, pytest.approx(0.1), 0.1)
    # Wilson 1927 for 8 of 10 at 95 %, by hand: (8 + 1.9207 -+ 1.96 sqrt(1.6 + 0.9604)) / 13.8415
    assert (high.low, high.high) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    assert sum(part.rows for part in reliability(LABELS, SCORES[CHAMPION])) == len(LABELS)
    (tied,) = reliability(LABELS, np.full(len(LABELS), 0.3))
    assert tied.observed == pytest.approx(LABELS.mean())


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.ones(3), np.ones(2), "one length"),
        (np.ones(3), np.ones(3), "both present"),
        (np.array([0.0, 1]), np.array([0.2, np.nan]), "NaN"),
        (np.array([0.0, 1]), np.array([0.2, 1.2]), "off 0..1"),
    ],
)
def test_scores_that_cannot_be_drawn_are_refused(labels, scores, message):
    with pytest.raises(ReportError, match=message):
        Curves("m", labels, scores, 0.5)


def test_nothing_to_draw_is_an_error_and_no_empty_plot():
    with pytest.raises(ReportError, match="nothing to draw"):
        plots.roc([])
    with pytest.raises(ReportError, match="one value per size"):
        LearningCurve("m", "f1", (1, 2), (0.1,), (0.1,), (0.1,), (0.1,))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.number(None), "n/a"),
        (words.number(float("nan")), "n/a"),
        (words.number(-0.0001), "0.000"),
        (words.interval(Estimate(value=0.95712, low=-0.5, high=1)), "0.957 [-0.500, 1.000]"),
        (words.p_value(0.0004), "< 0.001"),
        (words.percent(0.1234), "12.3 %"),
        (words.size(999), "1.0 kB"),
        (words.size(4_812_345), "4.8 MB"),
        (words.signed(0.0123), "+0.012"),
        (words.metric("precision_at_80_recall"), "Precision at 80 % recall"),
        (words.slice_name("slice_hard"), "hard slice"),
        (words.slice_name("bpsn_identity_people_of_age"), "people of age, BPSN"),
        (words.metric("ndcg_at_10"), "nDCG@10"),
        (words.metric("attack.typo"), "attack.typo"),
        (words.sentence("decisions of ROC-AUC"), "Decisions of ROC-AUC"),
    ],
)
def test_words(shown, expected):
    assert shown == expected


def frame(rows: int, shift: float) -> pd.DataFrame:
    rng = np.random.default_rng(rows)
    made = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["moved", "steady", "empty"])
    made["moved"] += shift
    made["empty"] = np.nan
    return made.assign(label=(made["steady"] > 0).astype(float), tenant=NASTY)


def test_evidently_report_shows_drift_and_quality(tmp_path):
    judged, train = frame(300, 1.0), frame(900, 0.0)
    scores = np.clip(0.5 + judged["steady"].to_numpy() / 10 + 0.05, 0, 1)
    path = tmp_path / "evidently.html"
    found = write_evidently(
        path, judged, train, columns=["moved", "steady", "empty"],
        labels=judged["label"].to_numpy(float), scores=scores, threshold=0.5, max_rows=500,
    )  # fmt: skip
    assert (found.rows, found.reference_rows) == (300, 500)
    assert (found.drifted, found.drift_share, found.skipped) == (("moved",), 0.5, ("empty",))
    assert found.drift["moved"] == pytest.approx(1.0, abs=0.2)  # in standard deviations
    assert found.quality["recall"] == 1.0
    labels = judged["label"].to_numpy()
    for name in ("accuracy", "precision", "f1", "roc_auc"):
        expected = metrics.compute(name, labels, scores, 0.5)
        assert found.quality[name] == pytest.approx(expected, abs=1e-9)
    text = path.read_text()
    assert "300 holdout against 500 training rows" in text
    assert "alert(" not in text.split("<script>")[1]  # the data block: inputs only, no tenant
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=.http", text)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("columns", "scores", "message"),
    [
        (["moved"], np.ones(2), "scores of shape"),
        (["moved", "gone"], np.ones(30), r"lack the columns \['gone'\]"),
        (["empty"], np.ones(30), "no column has a value"),
    ],
)
def test_evidently_refuses_rows_it_cannot_show(tmp_path, columns, scores, message):
    path = tmp_path / "evidently.html"
    with pytest.raises(ReportError, match=message):
        write_evidently(
            path, frame(30, 0), frame(40, 0), columns=columns, labels=np.zeros(30), scores=scores,
            threshold=0.5,
        )  # fmt: skip
    assert not path.exists()
