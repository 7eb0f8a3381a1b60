"""Lets generated events happen to a served champion: landed, asked about, answered, judged.

For the demo and the flow tests. A chapter goes the way of real events: a file in the inbox, the
feature run, one request per batch of rows to the service, outcomes, the run of the way back. What
monitoring then asks for is done by ``orchestration.loop``. Decides nothing, prints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from assets.sources import merges_generator
from assets.sources.merges_generator import Drift
from assets.stages.common import stage_key
from models.contracts.product import EVENT_ID, JUDGED, ModelProduct
from orchestration.jobs import way_back
from orchestration.loop import Site
from orchestration.refresh import plan, upstream
from orchestration.running import execute, workplace
from orchestration.traffic import Replayed, Reported, replay, report_outcomes
from stores.home import Home
from stores.landing import DONE, Landing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Say = Callable[[str], object]

SOURCE = "merges"
#: A service finishes a segment of its log every few seconds.
_LOG_SECONDS, _PAUSE_S = 60.0, 0.2


class RehearsalError(Exception):
    """A chapter could not happen; the message says at which step and what to do."""


class Chapter(NamedTuple):
    """A stretch of the generated world.

    Attributes:
        after: Rows of the world before it; about one per hour.
    """

    number: int
    rows: int
    drift: Drift
    after: int

    @property
    def file(self) -> str:
        """Its name in the inbox."""
        return f"chapter_{self.number}_{self.drift}.parquet"


class Happened(NamedTuple):
    """What became of a chapter."""

    replayed: Replayed
    reported: Reported


def happen(site: Site, product: ModelProduct, chapter: Chapter, url: str, say: Say) -> Happened:
    """Land a chapter, refresh the features, ask the service, report outcomes, wait for the log.

    Only merges without the button are asked about: the button refuses a conflict by itself.

    Args:
        site: Where.
        product: Whose service is asked.
        chapter: What happens.
        url: Root of that service.
        say: Receives progress.

    Raises:
        RehearsalError: A run failed, the chapter lies ahead of the clock, or the service did not
            finish its log in time.
        TrafficError: The service did not answer.
    """
    table = merges_generator.chapter(
        site.settings.generator_seed, chapter.number, chapter.rows, chapter.drift,
        after=chapter.after,
    )  # fmt: skip
    _require_past(table)
    home = site.settings.home_paths()
    say(f"{table.num_rows} rows of {chapter.rows} merges dropped as {_drop(home, chapter, table)}")
    _run(site, _below_dataset(site, product), "the feature run")
    rows = _asked(home, product, table)
    replayed = replay(url, product, rows)
    say(f"{replayed.rows} predictions in {replayed.requests} requests to {url}/predict")
    reported = report_outcomes(url, rows)
    say(f"{reported.outcomes} outcomes to {url}/outcome, each as known days later")
    _wait_for_log(home, product)
    return Happened(replayed, reported)


def was_dropped(home: Home, chapter: Chapter) -> bool:
    """Whether its file came into this home, taken or not."""
    inbox = Landing(home.root).inbox(SOURCE)
    return any((folder / chapter.file).exists() for folder in (inbox, inbox / DONE))


def look_back(site: Site, product: ModelProduct) -> None:
    """One run of the way back: log, join, monitoring, status page.

    Raises:
        RehearsalError: It failed.
    """
    graph = site.definitions.resolve_asset_graph()
    wanted = way_back([product]).resolve(graph)
    _run(site, sorted(wanted), "the way back")


def _require_past(table: pa.Table) -> None:
    """A service refuses what lies ahead of its clock."""
    import pyarrow.compute as pc

    newest = pc.max(table["known_at"]).as_py().replace(tzinfo=UTC)
    if newest > datetime.now(UTC):
        raise RehearsalError(
            f"the chapter's outcomes reach to {newest:%Y-%m-%d}, which is to come; give the "
            "generated rows fewer hours (ASSAY_GENERATOR_ROWS, new home) or mend the clock"
        )


def _drop(home: Home, chapter: Chapter, table: pa.Table) -> Path:
    """Drop it as anybody would: under a hidden name, then renamed."""
    import pyarrow.parquet as pq

    inbox = Landing(home.root).inbox(SOURCE)
    hidden = inbox / f".{chapter.file}"
    pq.write_table(table, hidden)
    return hidden.rename(inbox / chapter.file)


def _below_dataset(site: Site, product: ModelProduct) -> list[dg.AssetKey]:
    """What new data makes stale, up to the features: the chain behind them only retrains."""
    graph = site.definitions.resolve_asset_graph()
    wanted = set(upstream(graph, [product], "dataset")) - {stage_key(product, "dataset")}
    reasons = plan(graph, site.instance, workplace(site.settings, [product]))
    return [key for key in reasons if key in wanted]


def _run(site: Site, keys: list[dg.AssetKey], what: str) -> None:
    if not keys:
        return
    result = execute(site.definitions, site.instance, keys)
    if not result.success:
        raise RehearsalError(f"{what} failed; its messages are in run {result.run_id}: `assay up`")


def _asked(home: Home, product: ModelProduct, table: pa.Table) -> pd.DataFrame:
    """Feature rows of the table's judged merges, in time order."""
    import pandas as pd

    features = pd.read_parquet(home.table(product.data.features))
    mine = features[EVENT_ID].isin(set(table[EVENT_ID].to_pylist()))
    return features[mine & features[JUDGED]]


def _wait_for_log(home: Home, product: ModelProduct) -> None:
    """Until no segment is written to: what was answered can be taken in."""
    from models.core.journal import OPEN

    folder = home.spool(product)
    until = time.monotonic() + _LOG_SECONDS
    while open_ones := list(folder.glob(f"*{OPEN}")):
        if time.monotonic() > until:
            raise RehearsalError(
                f"{open_ones[0]} is not finished after {_LOG_SECONDS:.0f} s; look into the "
                f"service's log (`assay status {product.key}`)"
            )
        time.sleep(_PAUSE_S)
