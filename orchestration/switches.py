"""Overrides and flags of the routing table: exceptions a person makes, beside any rollout.

A release that does not run cannot be given to anybody; which switch counts for a request is
``gateway.assign``'s affair.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from models.contracts.product import ModelProduct
from models.contracts.routing import Flag, Override, RoutingTable
from models.registry import get
from orchestration.settings import Settings
from stores import gateway_store
from stores.ledger import LedgerError

FlagName = Literal["serve", "explain", "cache", "mirror", "fallback"]
NAMES: tuple[FlagName, ...] = get_args(FlagName)


def override(
    product: ModelProduct, settings: Settings, tenant: str, version: str | None
) -> tuple[Override, ...]:
    """Let one tenant be answered by one release, whatever the rollout; None: as everybody.

    Returns:
        The product's overrides now.

    Raises:
        LedgerError: The release does not run, or no gateway serves the product.
    """

    def change(table: RoutingTable) -> RoutingTable:
        routes = table.products.get(product.key)
        if routes is None:
            raise LedgerError(f"{product.key} is not served; start it with `assay up`")
        if version is not None and version not in routes.members:
            running = ", ".join(sorted(routes.members)) or "none"
            raise LedgerError(
                f"{product.key}: {version} does not run, so nobody can be given it; running: "
                f"{running}. A challenger runs while its rollout does (`assay rollout start`)"
            )
        kept = tuple(one for one in routes.overrides if one.tenant != tenant)
        added = () if version is None else (Override(tenant=tenant, version=version),)
        fresh = routes.model_copy(update={"overrides": (*kept, *added)})
        return gateway_store.with_product(table, fresh)

    written = gateway_store.write_table(settings.home_paths(), change)
    return written.products[product.key].overrides


def flag(
    settings: Settings, name: str, scope: str, *, on: bool | None, tenants: tuple[str, ...] = ()
) -> tuple[Flag, ...]:
    """Switch something on or off, for all or for some tenants; ``on`` None forgets the switch.

    Args:
        settings: Where everything is.
        name: Of `NAMES`.
        scope: ``*``, a product, or ``<product>@<version>``.
        on: Whether it is on.
        tenants: Whom it is about; none means all.

    Returns:
        All switches now.

    Raises:
        LedgerError: No such switch.
        ProductError: No such product.
    """
    if name not in NAMES:
        raise LedgerError(f"no flag {name!r}; there are {', '.join(NAMES)}")
    if scope != "*":
        get(scope.partition("@")[0])

    def change(table: RoutingTable) -> RoutingTable:
        same = (name, scope, tenants)
        kept = tuple(one for one in table.flags if (one.name, one.scope, one.tenants) != same)
        if on is None:
            return table.model_copy(update={"flags": kept})
        made = Flag(name=cast("FlagName", name), scope=scope, on=on, tenants=tenants)
        return table.model_copy(update={"flags": (*kept, made)})

    return gateway_store.write_table(settings.home_paths(), change).flags
