"""What the UI shows of an evaluation beside its pages. Measures nothing but average ranks."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.stages.candidates import load_candidate
from assets.stages.common import picture, table
from assets.stages.comparisons import average_ranks, folds_table
from assets.stages.snapshots import read_snapshot
from models.contracts.product import ModelProduct
from models.contracts.results import Evaluation
from stores.home import Home


def evaluation_metadata(product: ModelProduct, home: Home, found: Evaluation) -> dict[str, Any]:
    """Tables, plots and links of one evaluation."""
    from stores.reports import compared, examinations, forest, ranks_plot, tables

    snapshot = read_snapshot(product, home, found.snapshot_id)
    cards, metric = list(found.scorecards.values()), product.gate.metric
    manifests = [load_candidate(product, home, c) for c in found.scorecards]
    challenger = found.scorecards[found.challenger]
    champion = found.scorecards[found.champion] if found.champion else None
    rows = tables.candidates_table(cards, manifests, found.challenger, found.champion, metric)
    report, evidently = (
        dg.MetadataValue.url(home.page_url(product, found.evaluation_id, name))
        for name in ("report.html", "evidently.html")
    )
    ranks = average_ranks(metric, product.gate.alpha, cards, manifests)
    metadata: dict[str, Any] = {
        "challenger": challenger.trial,
        "judged units": challenger.rows["overall"],
        "candidates": table(rows),
        "slices": table(tables.slices_table(challenger, champion, metric)),
        "over folds": table(folds_table(product, snapshot, manifests)),
        "average ranks": table(compared.ranks_table(ranks)),
        "examinations": table(examinations.measures_table(cards)),
        "report": report,
        "evidently": evidently,
        "path": dg.MetadataValue.path(str(home.evaluation(product, found.evaluation_id))),
        "slices plot": picture(forest.slices(challenger, champion, metric, dpi=60), "slices"),
    }
    if ranks:
        metadata["ranks plot"] = picture(ranks_plot.critical_difference(ranks, dpi=60), "ranks")
    return metadata
