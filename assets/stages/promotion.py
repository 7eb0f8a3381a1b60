"""The gate as an asset: it records its decision as a check and, when it refuses, yields no output.

The rule itself is pure (``models.core.gates``); here the evidence is fetched, the decision is
written to the ledger and the MLflow aliases follow the ledger.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from pydantic import JsonValue

from assets.stages.approval import Approval, approval
from assets.stages.candidates import load_candidate
from assets.stages.common import (
    kind_module,
    picture,
    slice_columns,
    stage_asset,
    stage_key,
    table,
)
from assets.stages.comparisons import model_answers
from assets.stages.design import designed
from assets.stages.evaluation import releasable
from assets.stages.kept import SCORES
from assets.stages.pages import write_report_page
from models.contracts.product import TENANT, ModelProduct
from models.contracts.results import CandidateSet, Evaluation, GateDecision, Release
from models.kinds import kind_of
from stores.home import Home
from stores.ledger import Ledger
from stores.tracking import Tracking

if TYPE_CHECKING:
    from models.core.forms import Form
    from models.core.gates import Paired


class Evidence(NamedTuple):
    """Answers of challenger and champion on the same units, and of the challenger's forms."""

    paired: "Paired"
    forms: "tuple[Form, ...]"


class Promotion(NamedTuple):
    """What the gate said, the release when it said yes, a person's word where one is asked for."""

    evaluation: Evaluation
    decision: GateDecision
    release: Release | None
    approval: Approval | None


def promote(product: ModelProduct, home: Home, tracking: Tracking) -> Promotion:
    """Decide on the newest evaluation, once, and release when the gate says so.

    Every step is repeatable: after a crash the decision in the ledger stands, and what was not yet
    done (release entry, registered version, aliases) is done.
    """
    ledger = Ledger(home.ledger(product))
    folder = home.evaluation(product, home.require_latest(product, "evaluation"))
    evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_text())
    before = ledger.decision(evaluation.evaluation_id)
    decision = standing_decision(product, ledger, evaluation.evaluation_id)
    if decision is None:
        decision = _decide(product, home, evaluation, ledger)
        if decision != before:
            body: dict[str, JsonValue] = {
                "evaluation_id": evaluation.evaluation_id,
                "decision": decision.model_dump(mode="json"),
            }
            ledger.append("decision", body)
            write_report_page(product, home, evaluation, folder, decision)
    release = None
    if decision.outcome == "promote":
        release = _release(product, home, tracking, evaluation, _serves(decision))
        tracking.point_aliases(product, ledger.current(), ledger.previous())
    asked = approval(product, ledger, evaluation.evaluation_id)
    return Promotion(evaluation, decision, release, asked)


def standing_decision(
    product: ModelProduct, ledger: Ledger, evaluation_id: str
) -> GateDecision | None:
    """The decision that needs no second asking; None when the gate must speak (again).

    A promotion stands. A refusal stands while the policy is the one it was judged by. Waiting for
    approval stands until somebody approved in time; when nobody did, only new evidence is judged.
    """
    decision = ledger.decision(evaluation_id)
    if decision is None or decision.outcome == "promote":
        return decision
    policy = product.gate.model_dump(mode="json")
    if {name: decision.policy.get(name) for name in policy} != policy:
        return None
    asked = approval(product, ledger, evaluation_id)
    given = decision.outcome == "awaiting_approval" and asked is not None and asked.given
    return None if given else decision


def _decide(
    product: ModelProduct, home: Home, evaluation: Evaluation, ledger: Ledger
) -> GateDecision:
    from models.core.gates import decide

    cards = evaluation.scorecards
    asked = approval(product, ledger, evaluation.evaluation_id)
    evidence = load_evidence(home, product, evaluation)
    return decide(
        product.key,
        product.gate,
        evidence.paired,
        cards[evaluation.challenger],
        cards[evaluation.champion] if evaluation.champion else None,
        approved=asked is not None and asked.given is not None,
        forms=evidence.forms,
    )


def load_evidence(home: Home, product: ModelProduct, evaluation: Evaluation) -> Evidence:
    """Everything the gate looks at, as the evaluation kept it."""
    import pandas as pd

    from models.core.forms import Form
    from models.core.gates import Paired

    units = pd.read_parquet(home.evaluation(product, evaluation.evaluation_id) / SCORES)
    pair = kind_of(product.contract).paired
    manifests = {c: load_candidate(product, home, c) for c in evaluation.scorecards}
    answers = {c: (manifests[c], model_answers(units, c)) for c in manifests}
    challenger, champion = evaluation.challenger, evaluation.champion
    paired = Paired(
        units=pair(product, units, answers[challenger], answers[champion] if champion else None),
        tenants=units[TENANT].to_numpy(str),
        slices={c: units[c].to_numpy(bool) for c in slice_columns(units)},
    )
    others = [c for c in releasable(evaluation, list(manifests.values())) if c != challenger]
    forms = [
        Form(evaluation.scorecards[c], pair(product, units, answers[c], answers[challenger]))
        for c in others
    ]
    return Evidence(paired, tuple(forms))


def _serves(decision: GateDecision) -> str:
    return decision.serves or decision.challenger


def _release(
    product: ModelProduct, home: Home, tracking: Tracking, evaluation: Evaluation, serves: str
) -> Release:
    """The release of this evaluation; made once, found again afterwards.

    ``serves`` is the challenger or another form of it. With a plan for its rollout it is staged:
    what serves stays, until ``orchestration.rollouts`` has its verdict.
    """
    ledger = Ledger(home.ledger(product))
    made = [r for r in ledger.releases() if r.evaluation_id == evaluation.evaluation_id]
    if made:
        return made[-1]
    version = ledger.new_version()
    candidates = CandidateSet.model_validate_json(
        home.candidate_set(product, home.require_latest(product, "candidates")).read_text()
    )
    trial = evaluation.scorecards[serves].trial
    design = designed(product, home, evaluation, serves)
    tags = {
        "semver": design.semver,
        "semver_reason": design.reason,
        "version": version,
        "trial": trial,
        "candidate_id": serves,
        "snapshot_id": evaluation.snapshot_id,
    }
    release = Release(
        product=product.key,
        version=version,
        candidate_id=serves,
        snapshot_id=evaluation.snapshot_id,
        evaluation_id=evaluation.evaluation_id,
        trial=trial,
        mlflow_version=tracking.register(product, candidates.runs[serves], tags),
        artifact=str(home.candidate(product, serves).relative_to(home.root)),
        semver=design.semver,
        staged=product.serving.rollout is not None and ledger.current() is not None,
    )
    ledger.append("release", release)
    return release


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The promotion asset with its ``gate`` check."""
    key = stage_key(product, "promotion")

    @stage_asset(
        product,
        "promotion",
        after=stage_key(product, "evaluation"),
        modules=(__name__, kind_module(product)),
        salt=product.gate.model_dump_json(),
        kinds={"mlflow"},
        checks={
            "gate": "May the challenger serve?",
            "approval": "Has the named person approved, where the product asks for one?",
        },
        blocking=False,
    )
    def promotion(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[Any]:
        """Let the challenger serve, or not: a paired statistical test plus guardrails.

        No output means: refused, and what served before still serves.
        """
        found = promote(product, home, tracking)
        decision = found.decision
        context.log.info(f"{decision.outcome}: {decision.reason}")
        metadata = _metadata(decision)
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="gate",
            passed=found.release is not None,
            severity=dg.AssetCheckSeverity.WARN,
            description=decision.reason,
            metadata=metadata,
        )
        yield approval_check(product, key, found)
        if found.release:
            version = dg.DataVersion(found.release.version)
            metadata |= {
                "version": found.release.version,
                "semantic version": found.release.semver,
                "serves": "after its rollout" if found.release.staged else "now",
            }
            yield dg.MaterializeResult(asset_key=key, data_version=version, metadata=metadata)

    return promotion


def approval_check(
    product: ModelProduct, key: dg.AssetKey, found: Promotion
) -> dg.AssetCheckResult:
    """Pending is a warning: nobody's fault, and visible until the word is given."""
    asked = found.approval
    if asked and not asked.given and found.decision.outcome != "awaiting_approval":
        asked = None  # the gate was asked again and wants nobody's word any more
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="approval",
        passed=asked is None or asked.given is not None,
        severity=dg.AssetCheckSeverity.WARN,
        description=asked.sentence(product) if asked else "not needed",
    )


def _metadata(decision: GateDecision) -> dict[str, Any]:
    from stores.reports import forest, tables, words

    metadata: dict[str, Any] = {
        "decision": dg.MetadataValue.md(tables.decision_markdown(decision)),
        "outcome": decision.outcome,
        "tests": table(tables.tests_table(decision)),
        "guardrails": table(tables.guardrails_table(decision)),
        "serves when released": words.serves(decision),
    }
    if decision.forms:
        metadata["forms"] = table(tables.forms_table(decision))
        metadata["tests of forms"] = table(tables.forms_tests_table(decision))
    if decision.effect:
        png = forest.effect(decision, dpi=60)
        metadata["effect"] = picture(png, "effect with its interval")
    return metadata
