"""One window of traffic becomes a report: per release what it did, how it moved, what it is worth.

The figures are ``models.core``'s; this fetches what they need and puts the report together.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from assets.stages.monitoring_traffic import Traffic, Window
from models.contracts.monitoring import (
    OVERALL,
    DriftEffect,
    Latency,
    ReferenceProfile,
    VersionWindow,
    WindowReport,
    WindowVerdict,
)
from models.contracts.product import ModelProduct
from models.contracts.results import Estimate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from models.contracts.learner import Matrix, Vector

#: Slices of a report: all rows and the tenants with most of them.
MAX_TENANTS = 25
_MS_PER_HOUR = 3.6e6

Estimates = dict[str, dict[str, Estimate]]


class Judge(NamedTuple):
    """What every version of every window is measured with.

    Attributes:
        profile: Version to its reference profile; None for a version nobody released.
        cost_per_hour: Price of a busy machine hour.
    """

    product: ModelProduct
    traffic: Traffic
    profile: Callable[[str], ReferenceProfile | None]
    cost_per_hour: float


def watched_metrics(product: ModelProduct) -> tuple[str, ...]:
    """The gate's metric first, then those of its guardrails: what a release was judged on."""
    gate = product.gate
    tested = [g.metric for g in gate.guardrails if not g.on_measure]
    return tuple(dict.fromkeys([gate.metric, *tested]))


def report(judge: Judge, window: Window, digest: str, as_of: datetime) -> WindowReport:
    """Measure and judge every version that was asked in the window."""
    import pyarrow.compute as pc

    both = (window.predictions, window.refusals)
    asked = {v for table in both for v in pc.unique(table["model_version"]).to_pylist()}
    versions = []
    for version in sorted(asked, reverse=True):  # their names sort by time
        rows, refused = (table.filter(pc.equal(table["model_version"], version)) for table in both)
        versions.append(_version(judge, window, version, rows, refused))
    return WindowReport(
        product=judge.product.key,
        start=window.start,
        end=window.end,
        as_of=as_of,
        digest=digest,
        rows=len(window.predictions),
        versions=tuple(versions),
    )


def _version(
    judge: Judge, window: Window, version: str, rows: "pa.Table", refused: "pa.Table"
) -> VersionWindow:
    import numpy as np
    import pyarrow.compute as pc

    from models.core.data_quality import data_quality

    profile = judge.profile(version)
    inputs = _inputs(judge, window, version, profile) if len(rows) else None
    drift, score_drift = moved = _drift(judge.product, profile, rows, inputs)
    masks = _masks(rows)
    estimated = _estimated(judge.product, profile, rows, masks)
    realised = _realised(judge.product, profile, rows, masks)
    answered = rows.group_by("request_id").aggregate([("latency_ms", "max")])
    requests, errors = len(answered) + len(refused), int(np.sum(_floats(refused, "status") >= 500))
    quality = data_quality(
        judge.product.data.columns if inputs is not None else (),
        inputs,
        contradictions=int(pc.sum(rows["contradicted"]).as_py() or 0),
        orphans=window.orphans,
    )
    return VersionWindow(
        version=version,
        rows=len(rows),
        requests=requests,
        share=len(rows) / len(window.predictions) if len(rows) else 0.0,
        errors=errors,
        error_rate=errors / requests,
        latency=_latency(_floats(answered, "latency_ms_max")),
        cost_per_1000=_cost(rows, judge.cost_per_hour),
        drift=drift,
        score_drift=score_drift or DriftEffect(name="score", effect=np.nan, drifted=False),
        quality=quality,
        estimated=estimated,
        realised=realised,
        outcomes=len(rows) - rows["label"].null_count,
        verdict=_verdict(judge.product, profile, rows, moved, (estimated, realised)),
    )


def _verdict(
    product: ModelProduct,
    profile: ReferenceProfile | None,
    rows: "pa.Table",
    moved: tuple[tuple[DriftEffect, ...], DriftEffect | None],
    found: tuple[Estimates, Estimates],
) -> WindowVerdict:
    from models.core.windows import Evidence, judge

    if profile is None:
        unknown = "nothing to compare with: a version not in the ledger, or judged on too few rows"
        return WindowVerdict(judged=False, drifted=False, hurt=False, basis="none", reason=unknown)
    metric, (estimated, realised) = product.gate.metric, found
    evidence = Evidence(
        rows=len(rows),
        drift=moved[0],
        score_drift=moved[1],
        estimated=estimated.get(OVERALL, {}).get(metric),
        realised=realised.get(OVERALL, {}).get(metric),
        outcomes=len(rows) - rows["label"].null_count,
    )
    return judge(product.gate, product.monitoring, profile.promised[metric].value, evidence)


def _inputs(
    judge: Judge, window: Window, version: str, profile: ReferenceProfile | None
) -> "Matrix | None":
    """Logged inputs, when the version had the columns that the product has now."""
    names = judge.product.data.names
    if profile is None or profile.names != names:
        return None
    return judge.traffic.inputs(version, window.start, window.end, len(names))


def _drift(
    product: ModelProduct,
    profile: ReferenceProfile | None,
    rows: "pa.Table",
    inputs: "Matrix | None",
) -> tuple[tuple[DriftEffect, ...], DriftEffect | None]:
    """Effects of the inputs, and of the scores."""
    from models.core.drift_effect import effect, effects

    if profile is None or not len(rows):
        return (), None
    least = product.monitoring.drift_effect
    score = effect(profile.score, profile.rows, _floats(rows, "score"), least)
    if inputs is None:
        return (), score
    return effects(profile.inputs, profile.rows, inputs, least), score


def _masks(rows: "pa.Table") -> "dict[str, NDArray[np.bool_]]":
    """All rows, and the tenants with most of them."""
    import numpy as np

    if not len(rows):
        return {}
    tenants = rows["tenant"].combine_chunks().dictionary_encode()
    codes = tenants.indices.to_numpy(zero_copy_only=False)
    names = tenants.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    biggest = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))[:MAX_TENANTS]
    found = {OVERALL: np.ones(len(rows), bool)}
    return found | {f"tenant={names[i]}": codes == i for i in biggest}


def _estimated(
    product: ModelProduct, profile: ReferenceProfile | None, rows: "pa.Table", masks: Any
) -> Estimates:
    from models.core.label_free import ESTIMABLE, estimate_slices

    names = [name for name in watched_metrics(product) if name in ESTIMABLE]
    if profile is None or not len(rows) or not names:
        return {}
    return estimate_slices(
        _floats(rows, "score"),
        masks,
        profile.recalibration,
        profile.threshold,
        names,
        alpha=product.gate.alpha,
    )


def _realised(
    product: ModelProduct, profile: ReferenceProfile | None, rows: "pa.Table", masks: Any
) -> Estimates:
    import numpy as np

    from models.core.realised import realised

    labels = _floats(rows, "label")
    known = ~np.isnan(labels)
    if profile is None or not known.any():
        return {}
    return realised(
        watched_metrics(product),
        labels[known],
        _floats(rows, "score")[known],
        {name: mask[known] for name, mask in masks.items()},
        profile.threshold,
        alpha=product.gate.alpha,
    )


def _latency(milliseconds: "Vector") -> Latency:
    """Of answered requests; NaN when none was."""
    import numpy as np

    if not len(milliseconds):
        return Latency(mean=np.nan, median=np.nan, p95=np.nan, p99=np.nan)
    median, p95, p99 = np.quantile(milliseconds, (0.5, 0.95, 0.99))
    return Latency(mean=milliseconds.mean(), median=median, p95=p95, p99=p99)


def _cost(rows: "pa.Table", per_hour: float) -> float:
    """Price of 1,000 predictions: each row pays its part of its request's time."""
    import numpy as np

    if not len(rows):
        return float("nan")
    mean = float(np.mean(_floats(rows, "latency_ms") / _floats(rows, "rows")))
    return 1000 * mean / _MS_PER_HOUR * per_hour


def _floats(table: "pa.Table", column: str) -> "Vector":
    """A column as floats, NaN for null."""
    import numpy as np

    found: Vector = table[column].to_numpy().astype(np.float64)
    return found
