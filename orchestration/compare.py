"""Two candidates side by side: what the last evaluation kept, or ten fits of each. No printing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from assets.stages.candidates import load_candidate
from assets.stages.comparisons import average_ranks
from assets.stages.pages import EXTRAS, Extras
from assets.stages.snapshots import read_tables
from models.contracts.product import ModelProduct
from models.contracts.results import Evaluation, TestResult
from models.core.rivals import Rivals, RivalsError, halve, play, verdict
from models.kinds import kind_of
from models.registry import load_learner
from orchestration.settings import Settings
from stores.home import MissingError
from stores.reports import Pair, Ranks
from stores.reports.tables import model_names


class Kept(NamedTuple):
    """What an evaluation says of its models two by two.

    Attributes:
        pairs: Those asked for.
        tested: How many pairs were tested and corrected together.
        ranks: None with too few models or data sets.
    """

    evaluation_id: str
    pairs: tuple[Pair, ...]
    tested: int
    ranks: Ranks | None


class Refitted(NamedTuple):
    """5x2cv of two trials.

    Attributes:
        t: One-sided p of "the first is better"; ``detail`` has the two-sided one.
        f: Two-sided.
        verdict: What they mean.
    """

    t: TestResult
    f: TestResult
    verdict: str


def kept(product: ModelProduct, settings: Settings, wanted: Sequence[str]) -> Kept:
    """The tests of the last evaluation on its holdout units.

    Args:
        product: The product.
        settings: Where everything is.
        wanted: Trials, or ids of candidates, that both (all) stand in a pair; none: every pair.

    Raises:
        RivalsError: No such model, a form, or one that has no value of the gate's metric.
        MissingError: Nothing was evaluated yet, or by an earlier version.
    """
    home = settings.home_paths()
    folder = home.evaluation(product, home.require_latest(product, "evaluation"))
    evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_text("utf-8"))
    if not (folder / EXTRAS).exists():
        raise MissingError(
            f"{product.key}: the last evaluation is of an earlier version and kept no tests of "
            f"pairs: assay run {product.key}"
        )
    extras = Extras.model_validate_json((folder / EXTRAS).read_text("utf-8"))
    cards = list(evaluation.scorecards.values())
    manifests = [load_candidate(product, home, c) for c in evaluation.scorecards]
    names = model_names(cards)
    forms = {names[one.candidate_id]: ", ".join(one.after) for one in manifests if one.form}
    chosen = [_resolve(word, names, forms) for word in wanted]
    pairs = tuple(pair for pair in extras.pairs if {*chosen} <= {pair.better, pair.other})
    if not pairs or len(set(chosen)) < len(chosen):
        raise RivalsError(
            f"{product.key}: no pair of {' and '.join(chosen) or 'models'} was tested: it takes "
            f"two different ones with a value of {product.gate.metric}; those tested: "
            f"{', '.join(sorted({n for p in extras.pairs for n in (p.better, p.other)})) or 'none'}"
        )
    ranks = average_ranks(product.gate.metric, product.gate.alpha, cards, manifests)
    return Kept(evaluation.evaluation_id, pairs, len(extras.pairs), ranks)


def _resolve(word: str, names: Mapping[str, str], forms: Mapping[str, str]) -> str:
    """The one model that a person means by a name, a trial or the beginning of an id."""
    found = [
        name
        for identity, name in names.items()
        if name == word or name.startswith(f"{word} (") or identity.startswith(word)
    ]
    if len(found) != 1:
        raise RivalsError(
            f"{word!r} is {'more than one model' if found else 'no model of the last evaluation'}; "
            f"name one of: {', '.join(found or names.values())}"
        )
    if found[0] in forms:
        raise RivalsError(
            f"{found[0]} is {forms[found[0]]} in another form; the gate tests it against that one "
            "(`assay explain`)"
        )
    return found[0]


def refit(
    product: ModelProduct, settings: Settings, wanted: Sequence[str], say: Callable[[str], object]
) -> Refitted:
    """Fit two trials on both halves of five halvings of the newest snapshot's training rows.

    Args:
        product: The product.
        settings: Where everything is.
        wanted: Names of two trials.
        say: Receives progress, a line per fit.

    Raises:
        RivalsError: Not two trials that can be fitted, or rows that cannot be halved.
        MissingError: There is no snapshot yet.
    """
    from models.core.halvings import combined_f, five_by_two_t

    rivals = _rivals(product, wanted)
    home = settings.home_paths()
    tables = read_tables(product, home, home.require_latest(product, "dataset"))
    halves = kind_of(product.contract).halves(product, tables)
    if halves is None:
        raise RivalsError(
            f"{product.key}: --refit halves the training rows at random, and halves of users' "
            "histories are no two samples of the same question; without it the tests on the "
            "holdout are printed"
        )
    try:
        parts = halve(halves)
    except ValueError as error:
        raise RivalsError(f"{product.key}: the rows cannot be halved: {error}") from error
    differences = play(rivals, halves, parts, say)
    t, f = five_by_two_t(differences, alpha=product.gate.alpha), combined_f(differences)
    return Refitted(t, f, verdict(rivals, t, f, product.gate.alpha))


def _rivals(product: ModelProduct, wanted: Sequence[str]) -> Rivals:
    trials = {trial.name: trial for trial in product.trials}
    fitted = [name for name, trial in trials.items() if not trial.form]
    if len(set(wanted)) != 2 or not set(wanted) <= set(fitted):
        raise RivalsError(
            f"{product.key}: --refit wants two different trials that are fitted (a form is "
            f"exported); there are: {', '.join(fitted)}"
        )
    first, second = wanted
    return Rivals(first, second, trials, load_learner(product), product.gate.metric)
