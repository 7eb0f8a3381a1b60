"""What a gateway serves: releases, how requests are shared between them, and what is switched off.

Types only. One file, ``<home>/gateway/table.json``, is a `RoutingTable`; a gateway takes all of it
or none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from models.contracts.base import Frozen
from models.contracts.rollout import RolloutKind, Sticky


class Rule(Frozen):
    """What is answered when no model can be asked: base rates, or popular items."""

    product: str
    probability: float
    threshold: float
    labels: dict[str, float | None] = Field(default_factory=dict)
    items: tuple[str, ...] = ()


class Member(Frozen):
    """A release that can be asked.

    Attributes:
        url: Of its service; None is this process.
        artifact: Folder of its sealed model, for this process.
    """

    version: str
    semver: str
    url: str | None
    artifact: str | None


class Placement(Frozen):
    """The share of a product's requests that a rollout gives its challenger, and copies."""

    rollout_id: str
    kind: RolloutKind
    challenger: str
    weight: float
    mirror: float
    sticky: Sticky


class Override(Frozen):
    """The release that one tenant is answered by, whatever the rollout."""

    tenant: str
    version: str


class Flag(Frozen):
    """A switch. Scope: ``*``, a product, or ``<product>@<version>``; no tenants means all."""

    name: Literal["serve", "explain", "cache", "mirror", "fallback"]
    scope: str
    on: bool
    tenants: tuple[str, ...] = ()


class ProductRoutes(Frozen):
    """One product: who answers.

    Attributes:
        pinned: Its model stays in memory, whatever else needs room.
    """

    product: str
    champion: str | None
    previous: str | None
    members: dict[str, Member]
    placement: Placement | None = None
    overrides: tuple[Override, ...] = ()
    rule: Rule | None = None
    pinned: bool = False


class RoutingTable(Frozen):
    """Everything one gateway serves; a higher generation is newer."""

    generation: int
    written_at: datetime
    products: dict[str, ProductRoutes]
    flags: tuple[Flag, ...] = ()


class Instance(Frozen):
    """What a gateway says of itself, ``<home>/gateway/instances/<id>.json``.

    Attributes:
        generation: Of the table it took.
        answered: Product to release to units.
    """

    id: str
    pid: int
    kind: Literal["router", "single"]
    url: str
    generation: int
    at: datetime
    answered: dict[str, dict[str, int]]
    problems: tuple[str, ...] = ()
