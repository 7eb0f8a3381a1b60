"""`assay compare`: what the last evaluation kept of two models, or ten fits of each."""

import pytest
from typer.testing import CliRunner

from assets.stages.pages import EXTRAS, Extras
from models.contracts.results import Estimate, Evaluation
from models.registry import get
from orchestration import cli_compare
from orchestration.cli import app, out
from stores.home import Home
from stores.reports import Pair
from tests.unit import snapshot_home
from tests.unit.report_sample import CARDS, CHALLENGER, CHAMPION, OTHER, candidate

KEY, FILMS = "risk/sync_conflict", "recommendation/films"
PRODUCT = get(KEY)
FORM = "d" * 16
NEW, OLD = f"xgboost ({CHALLENGER[:6]})", f"xgboost ({CHAMPION[:6]})"
TESTS = {"paired_bootstrap": 0.04, "delong": 0.0004}
PAIRS = tuple(
    Pair(better=better, other=other, effect=Estimate(value=0.123, low=0.05, high=0.2), p=TESTS)
    for better, other in ((NEW, OLD), (NEW, "logistic"), (OLD, "logistic"))
)


@pytest.fixture
def assay(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    for console in (out, cli_compare.out):
        monkeypatch.setattr(console, "width", 300)
    return lambda *words: CliRunner().invoke(app, ["compare", *words])


@pytest.fixture
def evaluated(tmp_path):
    """A home whose last evaluation judged three models and a form."""
    home, form = Home(tmp_path), CARDS[2].model_copy(update={"candidate_id": FORM, "trial": "int8"})
    cards = {card.candidate_id: card for card in (*CARDS, form)}
    for identity, card in cards.items():
        made = {"after": {"xgboost": CHALLENGER}, "form": True} if identity == FORM else {}
        folder = home.candidate(PRODUCT, identity)
        folder.mkdir(parents=True)
        manifest = candidate(identity, card.trial).model_copy(update=made)
        (folder / "manifest.json").write_text(manifest.model_dump_json())
    evaluation = Evaluation(
        product=KEY, evaluation_id="e" * 16, snapshot_id="5" * 16, challenger=CHALLENGER,
        champion=CHAMPION, scorecards=cards,
    )  # fmt: skip
    folder = home.evaluation(PRODUCT, evaluation.evaluation_id)
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(evaluation.model_dump_json())
    (folder / EXTRAS).write_text(Extras(curve=None, pairs=PAIRS).model_dump_json())
    home.set_latest(PRODUCT, "evaluation", evaluation.evaluation_id)
    return folder


def lines(said):
    assert said.exit_code == 0, said.output
    return [line for line in said.output.splitlines() if "12.3 % [5.0, 20.0]" in line]


def test_every_pair_is_printed_with_its_tests(assay, evaluated):
    said = assay(KEY)
    assert len(lines(said)) == 3
    for word in ("Paired bootstrap", "DeLong", "0.040", "< 0.001", "all 3 pairs (Holm)"):
        assert word in said.output
    assert "No average ranks" in said.output  # one slice and three folds are no five data sets


def test_two_models_are_named_by_trial_or_by_id(assay, evaluated):
    (line,) = lines(assay(KEY, OTHER[:4], NEW))
    assert NEW in line
    assert "logistic" in line
    assert len(lines(assay(KEY, "logistic"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((KEY, "xgboost", "logistic"), f"more than one model; name one of: {OLD}, {NEW}"),
        ((KEY, "nobody", "logistic"), "'nobody' is no model of the last evaluation; name one of"),
        ((KEY, "int8", "logistic"), "int8 is xgboost in another form"),
        ((KEY, "logistic", "logistic"), "two different ones"),
        ((FILMS,), "nothing in evaluation yet; run `assay run"),
        ((KEY, "--refit"), "--refit wants two different trials"),
        ((KEY, "xgboost", "xgboost", "--refit"), "there are: logistic_named, logistic_all"),
        ((KEY, "xgboost", "logistic_all", "--refit"), "nothing in dataset yet"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(assay, evaluated, words, message):
    said = assay(*words)
    assert said.exit_code == 1
    assert message in " ".join(said.output.split())
    assert "Traceback" not in said.output


def test_the_tests_of_an_earlier_version_are_asked_for_anew(assay, evaluated):
    (evaluated / EXTRAS).unlink()
    said = assay(KEY)
    assert (said.exit_code, f"earlier version and kept no tests of pairs: assay run {KEY}" in
            said.output) == (1, True)  # fmt: skip


def test_two_trials_are_fitted_ten_times_each_and_tested(assay, tmp_path, monkeypatch):
    snapshot_home.write(Home(tmp_path))
    monkeypatch.setattr("models.registry.get", lambda _: snapshot_home.ROWS)
    said = assay(KEY, "all", "noise_alone", "--refit")
    assert said.exit_code == 0, said.output
    assert said.output.count("\nfit ") + said.output.startswith("fit ") == 20
    assert "all learns better than noise_alone" in said.output
    for word in ("t, the first difference", "F, all ten differences", "p (two-sided)"):
        assert word in said.output


def test_rankings_are_not_halved(assay, tmp_path, monkeypatch):
    films = get(FILMS)
    bare = films.model_copy(
        update={"data": films.data.model_copy(update={"tables": ()})}
    )  # no tables to read
    snapshot_home.write(Home(tmp_path), bare)
    monkeypatch.setattr("models.registry.get", lambda _: bare)
    said = assay(FILMS, "popularity", "ease", "--refit")
    assert said.exit_code == 1
    assert "no two samples of the same question" in said.output


def test_help_says_what_is_compared(assay):
    said = assay("--help").output
    for word in ("--refit", "same holdout units", "five random halvings"):
        assert word in said
