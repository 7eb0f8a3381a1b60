"""The routing table on disk: the only writer of what gateways serve, and what they say of it.

``<home>/gateway/``: ``table.json``, ``table.lock`` and ``instances/``, written by the gateways. The
ledger is the truth about releases; `refreshed` makes a product's part of the table from it and from
the services that run, at any time. Which release deserves traffic is not decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.contracts.routing import Instance, Member, ProductRoutes, RoutingTable, Rule
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger
from stores.service_slot import CHALLENGER, Slot

#: A gateway that said nothing for so long is not there any more; it says something every second.
SILENT_SECONDS = 3.0
_LOCK_SECONDS = 30.0
_POLL_SECONDS = 0.05

Change = Callable[[RoutingTable], RoutingTable]


class TableError(Exception):
    """A routing table that cannot be used; the message says what to do."""


def table_file(home: Home) -> Path:
    """The file that gateways follow."""
    return home.gateway / "table.json"


def read_table(home: Home) -> RoutingTable:
    """What gateways are to serve; nothing, of generation 0, before the first writing.

    Raises:
        TableError: The file is damaged.
    """
    file = table_file(home)
    try:
        return RoutingTable.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return RoutingTable(generation=0, written_at=datetime.now(UTC), products={})
    except ValidationError as error:
        raise TableError(
            f"{file} is damaged; gateways go on with what they have. Move it away and run `assay"
            " up`, which makes it anew (overrides and flags have to be set again)"
        ) from error


def write_table(home: Home, change: Change) -> RoutingTable:
    """Change the table: one at a time, in one step, with the next generation.

    Args:
        home: Of the deployment.
        change: From the present table to the next; it need not mind generation and time.

    Returns:
        The table as it is now; the present one where nothing changed.

    Raises:
        TableError: The present one is damaged, or another process holds it for half a minute.
    """
    home.gateway.mkdir(parents=True, exist_ok=True)
    with FileLock(home.gateway / "table.lock", timeout=_LOCK_SECONDS):
        now = read_table(home)
        wanted = change(now)
        if now.generation and wanted == now:
            return now
        # a gateway that runs may have seen more than a lost file says
        told = max((one.generation for one in _told(home)), default=0)
        table = wanted.model_copy(
            update={
                "generation": max(now.generation, told) + 1,
                "written_at": datetime.now(UTC),
            }
        )
        write_atomic(table_file(home), table.model_dump_json(indent=1))
        return table


def instances(home: Home, now: datetime | None = None) -> tuple[Instance, ...]:
    """The gateways that live, by what they said in the last seconds."""
    oldest = (now or datetime.now(UTC)) - timedelta(seconds=SILENT_SECONDS)
    return tuple(one for one in _told(home) if one.at >= oldest)


def acknowledged(home: Home, generation: int, seconds: float) -> bool:
    """Wait until every gateway that lives, and at least one, follows this generation or a newer.

    Args:
        home: Of the deployment.
        generation: Of the table that was written.
        seconds: To wait at most.
    """
    deadline = time.monotonic() + seconds
    while True:
        living = instances(home)
        if living and all(one.generation >= generation for one in living):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def with_product(table: RoutingTable, routes: ProductRoutes) -> RoutingTable:
    """The table with other routes of one product."""
    return table.model_copy(update={"products": {**table.products, routes.product: routes}})


def refreshed(
    table: RoutingTable, home: Home, product: ModelProduct, members: Iterable[Member],
    champion: str | None,
) -> RoutingTable:  # fmt: skip
    """The table with what runs of a product now; its rollout, overrides and pin stay.

    Args:
        table: Before.
        home: Whose ledger says what served before the champion.
        product: Whose routes are made.
        members: Releases that can be asked.
        champion: Release that answers; None when no one does.
    """
    found = {one.version: one for one in members}
    before = table.products.get(product.key)
    previous = Ledger(home.ledger(product)).previous()
    routes = ProductRoutes(
        product=product.key,
        champion=champion if champion in found else None,
        previous=previous.version if previous and previous.version in found else None,
        members=found,
        placement=before.placement if before else None,
        overrides=before.overrides if before else (),
        rule=_rule(home, product, champion) or (before.rule if before else None),
        pinned=before.pinned if before else False,
    )
    return with_product(table, routes)


def follow_services(home: Home, product: ModelProduct, *, stopping: bool = False) -> RoutingTable:
    """Write a product's services that run now into the table.

    Args:
        home: Of the deployment.
        product: Whose services.
        stopping: The champion's is about to end.
    """
    main = None if stopping else Slot(home, product).current()
    running = [Slot(home, product, CHALLENGER).current(), main]  # of one release the main one's URL
    members = [member(home, product, one.version, one.url) for one in running if one]
    champion = main.version if main else None
    return write_table(home, lambda table: refreshed(table, home, product, members, champion))


def follow_ledger(home: Home, product: ModelProduct) -> RoutingTable:
    """Write a product's packed releases into the table, for a gateway that holds models itself.

    Args:
        home: Of the deployment.
        product: Whose current release serves, with the one before it to fall back to.
    """
    ledger = Ledger(home.ledger(product))
    current = ledger.current()
    wanted = [one.version for one in (ledger.previous(), current) if one]
    members = [member(home, product, version, None) for version in wanted]
    packed = [one for one in members if one.artifact]
    champion = current.version if current else None
    return write_table(home, lambda table: refreshed(table, home, product, packed, champion))


def member(home: Home, product: ModelProduct, version: str, url: str | None) -> Member:
    """A release as the table has it.

    Args:
        home: Of the ledger and the bentos.
        product: What it is a release of.
        version: Of the release.
        url: Of its service; None for a gateway that holds the model itself.
    """
    artifact = _packed(home, product, version) / "artifact"
    releases: tuple[Release, ...] = Ledger(home.ledger(product)).releases()
    semver = next((one.semver for one in releases if one.version == version), "")
    return Member(
        version=version, semver=semver, url=url,
        artifact=str(artifact) if artifact.is_dir() else None,
    )  # fmt: skip


def _packed(home: Home, product: ModelProduct, version: str) -> Path:
    return home.bentos / "models" / product.slug / version


def _rule(home: Home, product: ModelProduct, version: str | None) -> Rule | None:
    """What is answered without a model; packed beside it since bentos carry it."""
    file = _packed(home, product, version or "-") / "rule.json"
    return Rule.model_validate_json(file.read_bytes()) if file.exists() else None


def _told(home: Home) -> Iterable[Instance]:
    """Every instance file that can be read: one that was killed leaves its last."""
    for file in sorted((home.gateway / "instances").glob("*.json")):
        try:
            yield Instance.model_validate_json(file.read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
