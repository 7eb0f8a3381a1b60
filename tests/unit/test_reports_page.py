"""The report page, its tables and the decision as Markdown: they show what was measured."""

from __future__ import annotations

import dataclasses
import html
import os
import re
from html.parser import HTMLParser

import pytest

from stores.reports import ReportError, compared, examinations, markdown, page, tables, words
from tests.unit.report_sample import (
    CANDIDATES,
    CARDS,
    CHALLENGER,
    CHAMPION,
    DATA,
    DECISION,
    METRICS,
    NASTY,
)

#: Effect, ranks, ROC, precision and recall, calibration, confusion, slices, importance, learning,
#: training.
PLOTS = range(10)
#: Only what every evaluation has.
LITTLE = dataclasses.replace(
    DATA, champion=None, curves=(), probabilities=(), confusion=None, classes=(), learning=(),
    training=(), labels=(), pairs=(), ranks=None, decision=None,
    scorecards=[card.model_copy(update={"measures": {}}) for card in CARDS],
)  # fmt: skip


class Page(HTMLParser):
    """The page as a browser sees it: tags with attributes, and each table as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.captions: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "caption":
            self.captions.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in ("td", "th"):
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")
        elif self._inside == "caption":
            self.captions[-1] += data

    def table(self, caption: str) -> list[list[str]]:
        return next(t for c, t in zip(self.captions, self.tables, strict=True) if caption in c)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return page.render(DATA, dpi=60)


@pytest.fixture(scope="module")
def shown(text: str) -> Page:
    return Page(text)


def test_page_needs_no_network_and_runs_no_script(text, shown):
    assert "://" not in text
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(t for t, _ in shown.tags)
    assert all(tag["src"].startswith("data:image/png;base64,") for tag in shown.named("img"))
    assert all(tag["href"].startswith("#") for tag in shown.named("a"))
    anchors = {tag["id"] for tag in shown.named("section")}
    assert {tag["href"][1:] for tag in shown.named("a")} == anchors


def test_page_is_accessible(shown):
    assert shown.named("html")[0]["lang"] == "en"
    assert len(shown.named("img")) == len(PLOTS)
    assert all(len(tag["alt"]) > 20 for tag in shown.named("img"))
    assert all(tag["scope"] in ("row", "col") for tag in shown.named("th"))
    assert len(shown.captions) == len(shown.tables)
    assert len([t for t, _ in shown.tags if t == "figcaption"]) == len(PLOTS)


def test_names_from_data_stay_text(text, shown):
    assert "<script" not in text
    assert NASTY not in text
    assert html.escape(NASTY, quote=False).split("script")[0] in text
    assert f"tenant={NASTY}" in [row[0] for row in shown.table("ROC-AUC per slice")]
    assert "Will edits conflict &amp; why?" in text


def test_numbers_of_the_page_are_the_measured_ones(shown):
    compared = shown.table("Every model on the same holdout")
    columns = {name: i for i, name in enumerate(compared[0])}
    rows = {row[0]: row for row in compared}
    at = columns["xgboost (cccccc)"]
    assert rows["Role"][at] == "challenger"
    for name in METRICS:
        found = CARDS[2].metrics["overall"][name]
        expected = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        assert rows[words.metric(name)][at] == expected
    assert (rows["CV ROC-AUC"][at], rows["Size"][at]) == ("0.830 ± 0.036", "812.3 kB")
    assert (rows["Latency p95 (ms)"][at], rows["Threshold"][at]) == ("0.457", "0.370")
    assert shown.table("Classification report")[2] == ["positive", "n/a", "0.644", "0.555", "189"]
    guardrail = shown.table("Guardrails")[1]
    assert guardrail[2:8] == ["0.200", "0.150", "33.3 %", "< 0.001", "< 0.001", "violated"]
    assert shown.table("Guardrails")[2][2:7] == ["n/a"] * 5
    facts = dict(shown.table("The frozen snapshot"))
    assert (facts["Rows"], facts["Holdout rows that judge"]) == ("42,120", "600")
    assert dict(shown.table("Ids"))["Content hash"] == "5" * 64


def test_examinations_show_every_measure_of_the_models_that_have_any(shown):
    attack = shown.table("Attack")
    assert attack[0] == ["Measure", "Best", "Guardrail metric", "xgboost (cccccc)"]
    assert attack[1][1:4] == ["high", "attack.typo", "0.800 [0.750, 0.850]"]
    assert attack[2][1:4] == ["low", "attack.flips", "0.100"]  # no interval, none invented
    assert shown.table("Cost")[0][3:] == ["logistic", "xgboost (cccccc)"]
    assert shown.table("Cost")[1] == ["nDCG per byte", "high", "cost.bytes", "1234.6", "1234.6"]


def test_forms_say_what_they_lose_and_which_of_them_serves(shown):
    assert "fast (ffffffffffffffff)" in next(c for c in shown.captions if "Other forms" in c)
    forms = {row[0]: row[1:5] for row in shown.table("Other forms")}
    assert forms["fast"] == ["yes", "yes", "2.50 x", "0.26"]
    assert forms["small"] == ["no", "no", "0.90 x", "0.10"]
    lost = shown.table("What the forms lose")[1]
    assert lost == ["fast", "ROC-AUC", f"tenant={NASTY}", "0.4 % [-0.6, 1.4]", "0.003", "200"]
    old = DECISION.model_copy(update={"forms": (), "serves": None})
    assert words.serves(old) == CHALLENGER


def test_models_are_compared_two_by_two_by_label_and_by_rank(shown):
    assert shown.table("Any two models")[1] == [
        NASTY, "logistic", "12.3 % [5.1, 19.1]", "< 0.001", "0.044"
    ]  # fmt: skip
    assert shown.table("Label by label")[1][2:] == [
        "400", "41", "0.931", "0.500", "n/a", "0.285"
    ]  # fmt: skip
    ranks = shown.table("Average ranks")
    assert [row[1] for row in ranks[1:]] == ["1.96", "2.00", "2.89", "3.14"]
    assert ranks[1][0] == NASTY


def test_slices_without_rows_are_left_out_and_derived_ones_stand_last():
    overall, added = CARDS[2].metrics["overall"], ("bpsn_identity_women", "slice_empty")
    changes = {
        "metrics": CARDS[2].metrics | dict.fromkeys(added, overall),
        "rows": CARDS[2].rows | {"bpsn_identity_women": 599, "slice_empty": 0},
    }
    rows = tables.slices_table(CARDS[2].model_copy(update=changes), None, "f1")
    assert len(rows) == len(CARDS[2].metrics) + 1
    assert rows[-1]["Slice"] == "women, BPSN"
    every = tables.metrics_table(CARDS[2].model_copy(update=changes), "f1")
    assert len(every) == len(CARDS[2].metrics)  # its base rate is made


def test_users_have_no_positives_and_a_form_is_said_to_be_one():
    users = CARDS[2].model_copy(update={"positives": dict.fromkeys(CARDS[2].positives, 0)})
    assert list(tables.slices_table(users, None, "f1")[0]) == ["Slice", "Judged", "Challenger"]
    changes = {"after": {"minilm": CHAMPION}, "form": True, "cv": {}}
    manifests = [one.model_copy(update=changes) for one in CANDIDATES[:1]]
    (row, *_) = tables.candidates_table(CARDS[:1], manifests, CHALLENGER, CHAMPION, "roc_auc")
    assert row["Made from"] == "minilm, in another form"
    assert "CV ROC-AUC" not in row  # nobody has a value


def test_verdict_is_one_plain_sentence(text):
    verdict = re.search(r'<p class="verdict (\w+)">(.*?)</p>', text)
    assert verdict[1] == "keep"
    sentence = f"Keep the champion: {DECISION.reason}."
    assert html.unescape(verdict[2]) == sentence


def test_page_leaves_out_what_was_not_measured():
    text = page.render(LITTLE, dpi=40)
    assert words.NOT_DECIDED in text
    shown = Page(text)
    kept = [tag["id"] for tag in shown.named("section")]
    assert kept == ["models", "slices", "learned", "data", "reproduce"]
    assert "Champion" not in shown.table("ROC-AUC per slice")[0]
    with pytest.raises(ReportError, match="judged were"):
        page.render(dataclasses.replace(DATA, champion="f" * 16))


def test_page_survives_a_crash_in_the_middle_of_its_write(tmp_path, monkeypatch):
    path = page.write_report(tmp_path / "new", LITTLE)
    assert path == tmp_path / "new" / "report.html"
    before = path.read_bytes()

    def crash(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", crash)
    monkeypatch.setattr(page, "render", lambda data: data.title)
    with pytest.raises(OSError, match="disk full"):
        page.write_report(path.parent, DATA)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_rows_are_plain_and_of_one_shape():
    made = [
        tables.candidates_table(CARDS, CANDIDATES[:2], CHALLENGER, CHAMPION, "roc_auc"),
        tables.slices_table(CARDS[2], CARDS[0], "roc_auc"),
        tables.metrics_table(CARDS[2], "roc_auc"),
        tables.guardrails_table(DECISION),
        tables.tests_table(DECISION),
        tables.classes_table(DATA.classes),
        tables.forms_table(DECISION),
        tables.forms_tests_table(DECISION),
        compared.labels_table(DATA.labels),
        compared.pairs_table(DATA.pairs),
        compared.ranks_table(DATA.ranks),
        examinations.measures_table(CARDS),
    ]
    for rows in made:
        assert len({tuple(row) for row in rows}) == 1
        assert {type(value) for row in rows for value in row.values()} <= {str, int, float}
    names = [row["Model"] for row in made[0]]
    assert names == ["xgboost (aaaaaa)", "logistic", "xgboost (cccccc)"]
    assert made[0][2]["CV ROC-AUC"] == "n/a"  # its manifest was not given
    assert [row["Slice"] for row in made[1]][:2] == ["overall", "hard slice"]
    ours, theirs = (CARDS[i].metrics["overall"]["roc_auc"].value for i in (2, 0))
    assert float(made[1][0]["Difference"]) == pytest.approx(ours - theirs, abs=5e-4)
    assert made[1][0]["Difference"].startswith("+")


def test_decision_as_markdown_holds_the_numbers_and_escapes_names():
    found = tables.decision_markdown(DECISION)
    for part in ("14.2 % \\[8.1, 20.4\\]", "Rows needed: 2,210", "| DeLong |", "0.0191",
                 "Serves when released: fast", "| fast | ROC-AUC |"):  # fmt: skip
        assert part in found
    assert "<script" not in found
    for block in found.split("\n\n")[2:]:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1  # a bar in a name opens no column
    assert markdown.table([]) == ""
