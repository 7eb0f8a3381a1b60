"""What has to run: assets whose inputs, code or configuration changed, and what follows from them.

One planner serves the command line, the schedules and the sensors. It builds nothing. It plans the
chain forward, from raw data to the service; the way back (log, monitoring) runs by the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from assets.stages.common import stage_key
from assets.stages.promotion import standing_decision
from models.contracts.product import ModelProduct
from stores.home import Home, Stage
from stores.ledger import Ledger
from stores.origin import ORIGIN_VERSION, Origin, Source

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

Reasons = dict[dg.AssetKey, str]
#: Tags that Dagster puts on every materialisation (dagster docs, "Asset versioning and caching").
CODE_VERSION, DATA_VERSION = "dagster/code_version", "dagster/data_version"
INPUT_VERSION = "dagster/input_data_version"
KEPT: tuple[Stage, ...] = ("dataset", "candidates", "evaluation")
#: The gate and what follows it.
AFTER_GATE = ("promotion", "bento", "service")


class Workplace(NamedTuple):
    """What the planner compares the event log with."""

    home: Home
    origin: Origin
    sources: Sequence[Source]
    products: Sequence[ModelProduct]


def plan(graph: AssetGraph, instance: dg.DagsterInstance, workplace: Workplace) -> Reasons:
    """Assets to run, in order, each with the reason in words.

    Args:
        graph: The asset graph of the code location.
        instance: Where earlier runs are recorded.
        workplace: Where results are kept, where raw data comes from, and what for.

    Returns:
        Key to reason in topological order, only what the products' services rest on; empty when
        nothing changed.
    """
    home = workplace.home
    wanted = upstream(graph, workplace.products, "service")
    reasons = _own_reasons(graph, instance, wanted)
    for source in workplace.sources:
        reason = raw_reason(source, instance, home, workplace.origin)
        if reason:
            reasons.setdefault(dg.AssetKey(["raw", source.name]), reason)
    for product in workplace.products:
        for stage in KEPT:
            key = stage_key(product, stage)
            if key not in reasons and home.latest(product, stage) is None:
                reasons[key] = "its result is gone"
    for product in workplace.products:
        _settle(graph, reasons, product, home)
    return {key: reason for key, reason in _spread(graph, reasons).items() if key in wanted}


def upstream(
    graph: AssetGraph, products: Sequence[ModelProduct], stage: str
) -> AbstractSet[dg.AssetKey]:
    """A stage of these products and everything it rests on."""
    roots = [stage_key(product, stage) for product in products]
    here = [root for root in roots if graph.has(root)]
    return dg.AssetSelection.assets(*here).upstream().resolve(graph) if here else set()


def raw_reason(
    source: Source, instance: dg.DagsterInstance, home: Home, origin: Origin
) -> str | None:
    """Why a raw source must be read again; None when nothing new can come of it."""
    from stores.landing import Landing

    landing = Landing(home.root)
    if landing.pending(source.name):
        return "new files in the inbox"
    key = dg.AssetKey(["raw", source.name])
    tags = _tags(key, instance)
    if tags is None:
        return "never materialised"
    if tags.get(ORIGIN_VERSION) != origin.version(source):
        return f"the origin is now {origin.version(source)}"
    if tags.get(DATA_VERSION) != landing.version(source.name):
        return "the landed files are not those recorded"
    return None


def _own_reasons(
    graph: AssetGraph, instance: dg.DagsterInstance, wanted: AbstractSet[dg.AssetKey]
) -> Reasons:
    """Missing, new code, or a dependency whose data version is not the one last read."""
    keys = [
        k for k in graph.toposorted_asset_keys if k in wanted and graph.get(k).is_materializable
    ]
    tags = {key: _tags(key, instance) for key in keys}
    reasons: Reasons = {}
    for key in keys:
        recorded = tags[key]
        if recorded is None:
            reasons[key] = "never materialised"
        elif recorded.get(CODE_VERSION) != graph.get(key).code_version:
            reasons[key] = "its code or configuration changed"
        else:
            for parent in sorted(graph.get(key).parent_keys):
                read = recorded.get(f"{INPUT_VERSION}/{parent.to_user_string()}")
                if read != (tags.get(parent) or {}).get(DATA_VERSION):
                    reasons[key] = f"{parent.to_user_string()} changed"
    return reasons


def _tags(key: dg.AssetKey, instance: dg.DagsterInstance) -> Mapping[str, str] | None:
    """The versions Dagster recorded with the last materialisation."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    return event.asset_materialization.tags or {}


def _spread(graph: AssetGraph, reasons: Mapping[dg.AssetKey, str]) -> Reasons:
    """Everything downstream of what runs, runs."""
    spread: Reasons = {}
    for key in graph.toposorted_asset_keys:
        parents = [p for p in sorted(graph.get(key).parent_keys) if p in spread]
        if key in reasons:
            spread[key] = reasons[key]
        elif parents and graph.get(key).is_materializable:
            spread[key] = f"{parents[0].to_user_string()} runs"
    return spread


def _settle(graph: AssetGraph, reasons: Reasons, product: ModelProduct, home: Home) -> None:
    """Leave out a gate that has spoken on the newest evaluation, and packing what is not there."""
    keys = {stage: stage_key(product, stage) for stage in ("evaluation", *AFTER_GATE)}
    newest = home.latest(product, "evaluation")
    if newest is None or keys["evaluation"] in _spread(graph, reasons):
        return
    ledger = Ledger(home.ledger(product))
    decision = standing_decision(product, ledger, newest)
    if decision is None or decision.outcome == "promote":
        return
    reasons.pop(keys["promotion"], None)
    if ledger.current() is None:
        for stage in AFTER_GATE:
            reasons.pop(keys[stage], None)
