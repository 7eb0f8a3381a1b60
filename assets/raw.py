"""Raw data as assets: one per source, landed incrementally and only once.

Add a source: write a module in ``assets/sources`` and a line in ``SOURCES``. Knows no product.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.code_version import code_version
from assets.sources import (
    comments,
    comments_generator,
    comments_mirror,
    films,
    films_generator,
    merges,
    merges_generator,
)
from assets.stages.common import table
from stores.files import write_atomic
from stores.home import Home
from stores.landing import Landed, Landing
from stores.origin import ORIGIN_VERSION, Origin, OriginError, PinnedFile, Source

SOURCES = (
    Source(
        name="merges",
        description=merges.__doc__ or "",
        owner="team:sync",
        files=(PinnedFile(merges.MIRROR_FILE, merges.MIRROR_SHA256),),
        schema=merges.schema,
        convert=merges.from_mirror,
        generate=merges_generator.generate,
    ),
    Source(
        name="comments",
        description=comments.__doc__ or "",
        owner="team:trust",
        files=tuple(PinnedFile(*file) for file in comments_mirror.MIRROR_FILES),
        schema=comments.schema,
        convert=comments_mirror.from_mirror,
        generate=comments_generator.sized,
    ),
    Source(
        name="film_ratings",
        description=films.__doc__ or "",
        owner="team:discovery",
        files=(PinnedFile(films.RATINGS_FILE, films.RATINGS_SHA256),),
        schema=films.ratings_schema,
        convert=films.ratings,
        generate=films_generator.ratings,
        published=(PinnedFile(films.PUBLIC_URL, films.PUBLIC_SHA256),),
    ),
    Source(
        name="film_items",
        description=films.CATALOGUE,
        owner="team:discovery",
        files=(PinnedFile(films.ITEMS_FILE, films.ITEMS_SHA256),),
        schema=films.items_schema,
        convert=films.items,
        generate=films_generator.items,
        published=(PinnedFile(films.PUBLIC_URL, films.PUBLIC_SHA256),),
    ),
)


def land_source(
    source: Source, home: Home, origin: Origin, say: Callable[[str], object]
) -> list[Landed]:
    """Land what the origin holds and every file that waits in the inbox.

    Raises:
        OriginError: The home holds another origin's events: two worlds are never mixed.
    """
    landing = Landing(home.root)
    results = []
    if not _holds(source, home, origin):
        say(f"reading {origin.version(source)}")
        events = origin.fetch(source, home.root / "downloads")
        results.append(landing.land(source.name, origin.version(source), events, source.schema()))
        write_atomic(_marker(source, home), origin.version(source))
    for file in landing.pending(source.name):
        results.append(landing.take(source.name, file, source.schema()))
        say(f"{file.name}: {results[-1].status}, {results[-1].rows} rows")
    return results


def build_raw(source: Source) -> dg.AssetsDefinition:
    """The asset ``raw/<name>`` with its check on what arrived."""
    key = dg.AssetKey(["raw", source.name])

    @dg.asset(
        key=key,
        description=source.description,
        group_name="raw",
        owners=[source.owner],
        kinds={"parquet"},
        code_version=code_version(source.convert.__module__, source.generate.__module__),
        check_specs=[
            dg.AssetCheckSpec("arrivals", asset=key, blocking=True,
                              description="Every arrived file has rows of the source's schema"),
        ],
        output_required=False,
    )  # fmt: skip
    def raw(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        origin: dg.ResourceParam[Origin],
    ) -> Iterator[Any]:
        results = land_source(source, home, origin, context.log.info)
        refused = [result for result in results if result.status == "quarantined"]
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="arrivals",
            passed=not refused,
            description="; ".join(result.reason for result in refused)
            or f"{len(results)} arrivals, none refused",
        )
        if not refused:
            yield _materialization(source, key, home, origin, results)

    return raw


def _materialization(
    source: Source, key: dg.AssetKey, home: Home, origin: Origin, results: list[Landed]
) -> dg.MaterializeResult[None]:
    import pyarrow.parquet as pq

    landing = Landing(home.root)
    rows = sum(pq.read_metadata(part).num_rows for part in landing.parts(source.name))
    arrivals: list[dict[str, Any]] = [
        {"name": r.name, "status": r.status, "rows": r.rows, "digest": r.digest} for r in results
    ]
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(landing.version(source.name)),
        tags={ORIGIN_VERSION: origin.version(source)},
        metadata={
            "origin": origin.chosen(),
            "dagster/row_count": rows,
            "files": len(landing.parts(source.name)),
            "arrivals": table(arrivals),
            "path": dg.MetadataValue.path(str(home.root / "raw" / source.name)),
            "inbox": dg.MetadataValue.path(str(landing.inbox(source.name))),
        },
    )


def _holds(source: Source, home: Home, origin: Origin) -> bool:
    marker = _marker(source, home)
    held = marker.read_text(encoding="utf-8") if marker.exists() else None
    if held and held != origin.version(source):
        raise OriginError(
            f"{home.root} holds events of {held}, the settings ask for {origin.version(source)}; "
            "use another ASSAY_HOME, or go back to the former setting"
        )
    return held is not None


def _marker(source: Source, home: Home) -> Path:
    return home.root / "raw" / source.name / ".origin"
