"""Judges every candidate and the serving champion on the same holdout units.

The challenger was picked by validation before the holdout is read. What a unit is and what is
measured on it, the product's kind says (``models.kinds``); intervals and slices are
``models.core.evaluation``'s; the pages are ``stores.reports``'s.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from assets.code_version import code_version
from assets.stages.candidates import load_candidate
from assets.stages.common import (
    kind_module,
    learner_module,
    slice_columns,
    stage_asset,
    stage_key,
)
from assets.stages.evaluation_metadata import evaluation_metadata
from assets.stages.kept import SCORES, candidate_file, write_watched
from assets.stages.pages import write_pages
from assets.stages.snapshots import load_model, read_tables
from models.contracts.monitoring import ReferenceProfile
from models.contracts.product import TENANT, ModelProduct
from models.contracts.results import Candidate, CandidateSet, Evaluation, Measure, Scorecard
from models.kinds import kind_of
from stores.files import settle, unnamed_folder
from stores.home import Home
from stores.ledger import Ledger
from stores.tracking import Tracking

if TYPE_CHECKING:
    import pandas as pd

    from models.contracts.learner import Vector
    from models.kinds import Model, Tables, Watched

GOLDEN_ROWS = 32
#: Units that are asked one by one for the latency, and how often each.
LATENCY_UNITS, LATENCY_ROUNDS = 100, 4
#: A slow model is asked less often: its latency must not cost minutes.
LATENCY_SECONDS = 3.0
COST = "cost.cpu_seconds_per_1000"


class Judged(NamedTuple):
    """One model on the holdout, with its answers per unit."""

    model: "Model"
    answers: "dict[str, Vector]"
    card: Scorecard


class Holdout(NamedTuple):
    """What every model is judged on."""

    product: ModelProduct
    tables: "Tables"
    units: "pd.DataFrame"


def evaluate(
    product: ModelProduct, home: Home, tracking: Tracking, say: Callable[[str], object]
) -> Evaluation:
    """Answer with the newest candidates and the champion, keep everything the gate will need."""
    from models.core.evaluation import pick_challenger

    listed = CandidateSet.model_validate_json(
        home.candidate_set(product, home.require_latest(product, "candidates")).read_text()
    )
    release = Ledger(home.ledger(product)).current()
    champion = release.candidate_id if release else None
    manifests = [load_candidate(product, home, c) for c in listed.candidates]
    challenger = pick_challenger(manifests, product.gate.metric).candidate_id
    ids = list(dict.fromkeys([*listed.candidates, *([champion] if champion else [])]))
    tables = read_tables(product, home, listed.snapshot_id)
    holdout = Holdout(product, tables, kind_of(product.contract).units(product, tables))
    judged = {}
    for candidate_id in ids:
        # an examination asks a model thousands of times: those that may serve next are examined
        closely = candidate_id in (challenger, champion)
        judged[candidate_id] = one = judge(holdout, home, candidate_id, closely=closely)
        found = one.card.metrics["overall"][product.gate.metric]
        say(f"{one.card.trial}: {product.gate.metric} {found.value:.4f} "
            f"[{found.low:.4f}, {found.high:.4f}], {one.card.latency_p95_ms:.1f} ms")  # fmt: skip
    evaluation = Evaluation(
        product=product.key,
        evaluation_id=_identity(product, listed.snapshot_id, ids, champion),
        snapshot_id=listed.snapshot_id,
        challenger=challenger,
        champion=champion,
        scorecards={c: one.card for c, one in judged.items()},
    )
    _keep(holdout, home, evaluation, judged)
    _track(home, product, tracking, listed, evaluation)
    home.set_latest(product, "evaluation", evaluation.evaluation_id)
    return evaluation


def judge(holdout: Holdout, home: Home, candidate_id: str, *, closely: bool) -> Judged:
    """Load one verified model and measure it; ``closely`` with its kind's examinations."""
    from models.core.evaluation import on_slices

    product, tables, units = holdout
    kind = kind_of(product.contract)
    model = load_model(product, home, candidate_id)
    answers = kind.answer(product, model, units, tables)
    folder = home.candidate(product, candidate_id)
    latency = _latency(holdout, model)
    measures = kind.examine(product, model, units, tables) if closely else {}
    found = on_slices(
        kind.paired(product, units, (model.candidate, answers), None),
        units[TENANT].to_numpy(str),
        {c: units[c].to_numpy(bool) for c in slice_columns(units)},
        names=kind.metrics,
        alpha=product.gate.alpha,
    )
    card = Scorecard(
        candidate_id=candidate_id,
        trial=model.candidate.trial,
        metrics=found.metrics,
        rows=found.rows,
        positives=found.positives,
        latency_p50_ms=latency[0],
        latency_p95_ms=latency[1],
        size_bytes=sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        importance=dict(model.predictor.importance()),
        measures=measures | {COST: cost(latency[0])},
    )
    return Judged(model, answers, card)


def cost(milliseconds: float) -> Measure:
    """CPU time of a thousand answers, which a price per hour makes money of."""
    title = "CPU seconds per 1,000 answers"
    return Measure(
        title=title, value=milliseconds, low=milliseconds, high=milliseconds, higher_is_better=False
    )


def _latency(holdout: Holdout, model: "Model") -> tuple[float, float]:
    """Median and p95 of single answers in milliseconds of CPU time, all threads.

    Not wall time, and of each unit the least of several: a gate must not depend on what else ran on
    this machine, and whatever disturbs only ever adds. Roll-outs and the latency benchmark measure
    wall time on the service.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    product, _, units = holdout
    chosen = np.unique(np.linspace(0, len(units) - 1, LATENCY_UNITS).astype(int))
    least = np.full(len(chosen), np.inf)
    until = time.monotonic() + LATENCY_SECONDS
    with threadpool_limits(limits=1):  # as services run: waiting threads would count as work
        calls = kind_of(product.contract).singles(model, units.iloc[chosen])
        for number, call in [*enumerate(calls)] * LATENCY_ROUNDS:
            begun = time.process_time_ns()
            call()
            least[number] = min(least[number], (time.process_time_ns() - begun) / 1e6)
            if time.monotonic() > until:
                break
    p50, p95 = np.quantile(least[np.isfinite(least)], (0.5, 0.95))
    return float(p50), float(p95)


def _identity(product: ModelProduct, snapshot_id: str, ids: list[str], champion: str | None) -> str:
    code = code_version(__name__, kind_module(product))
    text = json.dumps([snapshot_id, ids, champion, code, product.gate.metric])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(
    holdout: Holdout, home: Home, evaluation: Evaluation, judged: Mapping[str, Judged]
) -> None:
    """Write answers, golden requests, profiles and reports in one step under the evaluation's id.

    Golden requests and a profile for everything that may be released: challenger and its forms.
    """
    import pandas as pd

    product, tables, units = holdout
    kind = kind_of(product.contract)
    watched = {c: kind.watched(product, units, o.answers, tables) for c, o in judged.items()}
    with unnamed_folder(home.evaluation(product, "-").parent) as aside:
        answers = {f"{c}:{n}": v for c, o in judged.items() for n, v in o.answers.items()}
        columns = pd.DataFrame(answers, index=units.index)
        pd.concat([units, columns], axis=1).to_parquet(aside / SCORES)
        for candidate_id, seen in watched.items():
            write_watched(product, aside, candidate_id, seen)
        (aside / "evaluation.json").write_text(evaluation.model_dump_json(indent=1))
        manifests = [one.model.candidate for one in judged.values()]
        for candidate_id in releasable(evaluation, manifests):
            one = judged[candidate_id]
            golden = kind.golden(product, one.model, units, GOLDEN_ROWS)
            candidate_file(aside, "golden", candidate_id).write_text(golden.model_dump_json())
            profile = profile_of(product, evaluation, one.model.candidate, watched[candidate_id])
            if profile:
                candidate_file(aside, "profile", candidate_id).write_text(profile.model_dump_json())
        challenger = judged[evaluation.challenger].model
        write_pages(product, home, evaluation, aside, (challenger, tables))
        settle(aside, home.evaluation(product, evaluation.evaluation_id))


def releasable(evaluation: Evaluation, candidates: Sequence[Candidate]) -> list[str]:
    """Ids of the challenger and its other forms."""
    return [
        one.candidate_id
        for one in candidates
        if one.candidate_id == evaluation.challenger
        or (one.form and evaluation.challenger in one.after.values())
    ]


def profile_of(
    product: ModelProduct, evaluation: Evaluation, candidate: Candidate, watched: "Watched"
) -> ReferenceProfile | None:
    """The reference profile of one judged model; None where it could be released by no gate.

    With too few units of a class, or one score for all, no recalibration can be learned.
    """
    import numpy as np

    from models.core.profile import build_profile
    from models.core.slices import enough_rows

    if not enough_rows(watched.labels) or np.ptp(watched.scores) == 0:
        return None
    card = evaluation.scorecards[candidate.candidate_id]
    kind = kind_of(product.contract)
    return build_profile(
        product.key,
        evaluation.evaluation_id,
        candidate.candidate_id,
        watched.inputs,
        product.data.names,
        watched.scores,
        watched.labels,
        watched.times,
        kind.promised(product, card, watched, candidate.threshold),
        candidate.threshold,
    )


def _track(
    home: Home,
    product: ModelProduct,
    tracking: Tracking,
    listed: CandidateSet,
    evaluation: Evaluation,
) -> None:
    folder = home.evaluation(product, evaluation.evaluation_id)
    step = int(evaluation.evaluation_id[:7], 16)
    for candidate_id, run in listed.runs.items():
        pages = [folder / "report.html"] if candidate_id == evaluation.challenger else []
        tracking.log_evaluation(run, evaluation.scorecards[candidate_id], pages, step)


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The evaluation asset."""

    @stage_asset(
        product,
        "evaluation",
        after=stage_key(product, "candidates"),
        modules=(__name__, learner_module(product), kind_module(product)),
        salt=product.gate.metric,
        kinds={"evidently", "python"},
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        tracking: dg.ResourceParam[Tracking],
    ) -> dg.MaterializeResult[None]:
        """Candidates and champion on the same holdout: intervals, slices, calibration, latency."""
        found = evaluate(product, home, tracking, context.log.info)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(found.evaluation_id),
            metadata=evaluation_metadata(product, home, found),
        )

    return evaluation
