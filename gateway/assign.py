"""Which release answers a request, and which one sees a copy. Pure: no clock, no counter.

The order: a release that an administrator or a service names, the tenant's override, a flag, the
hash. The hash is of the key and the rollout, so a key stays with its release while the challenger's
share grows, and two rollouts divide the keys independently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gateway.errors import Refused
from models.contracts.rollout import Variant
from models.contracts.routing import Flag, Placement, ProductRoutes

_HASHES = 2.0**64


class Asking(NamedTuple):
    """What a request is assigned by.

    Attributes:
        tenant: Of its first row.
        unit: See `unit_of`.
        caller: Id of the key.
        release: That a believed caller names in ``x-assay-release``.
    """

    tenant: str
    unit: str
    caller: str
    release: str | None = None


class Assigned(NamedTuple):
    """A decision.

    Attributes:
        version: Release that is asked; None where none of the product's can be.
        variant: Its part in the rollout; None without one, or when it is neither.
        copy_to: Release that is to see a copy.
        drawn: Whether the hash said so.
        key: Hash of what it was assigned by (16 hexadecimal digits); "" without a rollout.
    """

    version: str | None
    variant: Variant | None = None
    copy_to: str | None = None
    drawn: bool = False
    key: str = ""


def assign(routes: ProductRoutes, flags: Iterable[Flag], asking: Asking) -> Assigned:
    """The release of a request, as a whole.

    Args:
        routes: Of its product.
        flags: Of the table.
        asking: The request.

    Returns:
        The release, and whether the rollout counts the request.

    Raises:
        Refused: 404 for a named release that does not run, 503 for what is switched off.
    """
    placement = running(routes)
    digest = _digest(placement, asking) if placement else b""
    if asking.release is not None:
        if asking.release not in routes.members:
            raise Refused(404, "this release does not run here; GET .../models lists those that do")
        return _fixed(routes, placement, asking.release, digest)
    named = (one.version for one in routes.overrides if one.tenant == asking.tenant)
    for version in named:
        if version in routes.members:
            return _fixed(routes, placement, version, digest)
    flags = tuple(flags)
    if not is_on(flags, "serve", routes.product, routes.champion, asking.tenant):
        raise Refused(503, "this product is switched off", [(b"retry-after", b"60")])
    if placement is None:
        return Assigned(routes.champion)
    if not is_on(flags, "serve", routes.product, placement.challenger, asking.tenant):
        return _fixed(routes, placement, routes.champion, digest)
    copies = is_on(flags, "mirror", routes.product, placement.challenger, asking.tenant)
    return _drawn(routes, placement, digest, copies=copies)


def running(routes: ProductRoutes) -> Placement | None:
    """The rollout, while both of its releases can be asked."""
    placement = routes.placement
    both = placement and {placement.challenger, routes.champion} <= routes.members.keys()
    return placement if both else None


def is_on(flags: Iterable[Flag], name: str, product: str, version: str | None, tenant: str) -> bool:
    """What the most specific flag says; on where none does.

    More specific is: of a release, then of a product, then of all; of equal ones that which names
    the tenant; of equal ones the last.
    """
    scopes = {"*": 0, product: 2, f"{product}@{version}": 4}
    best, answer = -1, True
    for flag in flags:
        if flag.name != name or flag.scope not in scopes:
            continue
        if flag.tenants and tenant not in flag.tenants:
            continue
        weight = scopes[flag.scope] + bool(flag.tenants)
        if weight >= best:
            best, answer = weight, flag.on
    return answer


def unit_of(header: bytes, row: Mapping[str, Any], caller: str) -> str:
    """What stays with one release: ``x-assay-key``, else the first row's user or event, or the key.

    Args:
        header: Value of ``x-assay-key``; empty when there was none.
        row: The request's first.
        caller: Id of the key.
    """
    if header:
        return header.decode("latin-1")
    found = row.get("user")
    if found is None:
        found = row.get("event_id")
    return caller if found is None else str(found)


def _drawn(routes: ProductRoutes, placement: Placement, digest: bytes, *, copies: bool) -> Assigned:
    challenged = int.from_bytes(digest, "big") / _HASHES < placement.weight
    version = placement.challenger if challenged else routes.champion
    other = routes.champion if challenged else placement.challenger
    # a canary is compared on what it answers: only its share of the requests is asked twice
    compared = challenged or placement.kind == "shadow"
    copied = copies and compared and _again(digest) < placement.mirror
    variant: Variant = "challenger" if challenged else "champion"
    return Assigned(version, variant, other if copied else None, True, digest.hex())


def _fixed(
    routes: ProductRoutes, placement: Placement | None, version: str | None, digest: bytes
) -> Assigned:
    """Somebody chose: the rollout sees it and does not count it."""
    if placement is None:
        return Assigned(version)
    variants: dict[str | None, Variant] = {
        placement.challenger: "challenger",
        routes.champion: "champion",
    }
    return Assigned(version, variants.get(version), key=digest.hex())


def _digest(placement: Placement, asking: Asking) -> bytes:
    whole = {
        "unit": f"{asking.tenant}|{asking.unit}",
        "tenant": asking.tenant,
        "key": asking.caller,
    }
    key = f"{placement.rollout_id}|{whole[placement.sticky]}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _again(digest: bytes) -> float:
    """A second number in [0, 1) of the same key, independent of the first."""
    second = hashlib.blake2b(digest, digest_size=8, person=b"copy").digest()
    return int.from_bytes(second, "big") / _HASHES
