"""The semantic version of a release, by its design beside that of the release before it.

The rule is ``models.core.semver``; here the designs are fetched, and kept with the evaluation.
"""

from typing import TYPE_CHECKING

from assets.stages.candidates import load_candidate
from assets.stages.kept import candidate_file
from assets.stages.snapshots import read_snapshot
from models.contracts.base import Frozen
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import Evaluation
from models.core.semver import Spec, bump
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

_WHAT = "design"


class Design(Frozen):
    """What a release is to its callers.

    Attributes:
        semver: ``MAJOR.MINOR.PATCH``.
        reason: Why it is this one.
    """

    semver: str
    reason: str
    spec: Spec


def designed(product: ModelProduct, home: Home, evaluation: Evaluation, serves: str) -> Design:
    """The design of a candidate that is to be released; found again once it was made."""
    path = _file(product, home, evaluation.evaluation_id, serves)
    if not path.exists():
        spec = _spec(product, home, evaluation, serves)
        semver, reason = bump(_before(product, home), spec)
        write_atomic(
            path, Design(semver=semver, reason=reason, spec=spec).model_dump_json(indent=1)
        )
    return Design.model_validate_json(path.read_bytes())


def reason_of(product: ModelProduct, home: Home, evaluation_id: str, candidate_id: str) -> str:
    """Why a release has its semantic version; "" of one from before there were any."""
    path = _file(product, home, evaluation_id, candidate_id)
    return Design.model_validate_json(path.read_bytes()).reason if path.exists() else ""


def _spec(product: ModelProduct, home: Home, evaluation: Evaluation, serves: str) -> Spec:
    made = load_candidate(product, home, serves)
    return Spec(
        contract=product.contract,
        columns=product.data.columns,
        labels=product.data.labels,
        max_rows=product.serving.max_rows,
        trial=Trial(
            name=made.trial, params=made.params, columns=made.columns, seed=made.seed,
            after=tuple(made.after), form=made.form,
        ),
        learner=f"{made.learner} {made.code_version}",
        features=read_snapshot(product, home, evaluation.snapshot_id).definition,
    )  # fmt: skip


def _before(product: ModelProduct, home: Home) -> tuple[str, Spec] | None:
    """Version and design of the newest release that has them."""
    for release in reversed(Ledger(home.ledger(product)).releases()):
        path = _file(product, home, release.evaluation_id, release.candidate_id)
        if release.semver and path.exists():
            return release.semver, Design.model_validate_json(path.read_bytes()).spec
    return None


def _file(product: ModelProduct, home: Home, evaluation_id: str, candidate_id: str) -> "Path":
    return candidate_file(home.evaluation(product, evaluation_id), _WHAT, candidate_id)
