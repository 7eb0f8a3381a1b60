"""Who may ask: an API key as it is kept, and the caller it makes of a request.

Types and their plain questions only: no file, no clock, no secret. A key's secret is 256 random
bits and is kept nowhere; what is kept is its SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, get_args

from pydantic import Field

from models.contracts.base import Frozen

Role = Literal["predict", "outcome", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

#: Among a key's tenants or products: all of them, those of tomorrow too.
ALL = "*"

#: ``ak_<id>_<secret>``: 12 hexadecimal digits, and 32 bytes in base64url.
PREFIX = "ak_"
PRESENTED = rf"{PREFIX}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})"


class ApiKey(Frozen):
    """One key, without its secret.

    Attributes:
        id: 12 hexadecimal digits; part of what is presented, so it may be logged.
        digest: SHA-256 of the secret, hexadecimal.
        tenants: Whose rows it may ask about; ``("*",)`` is everybody's.
        products: Keys of the products it may ask; ``("*",)`` is all.
        rate: Rows a second in the long run.
        burst: Rows at once after a pause.
        by: Who made it.
    """

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenants: tuple[str, ...] = Field(min_length=1)
    products: tuple[str, ...] = Field(min_length=1)
    roles: tuple[Role, ...] = Field(min_length=1)
    rate: float = Field(gt=0, allow_inf_nan=False)
    burst: int = Field(ge=1)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    by: str

    def state(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """Whether it opens anything now."""
        if self.revoked_at is not None:
            return "revoked"
        expired = self.expires_at is not None and self.expires_at <= now
        return "expired" if expired else "active"


class KeyFile(Frozen):
    """``<home>/keys/api-keys.json``."""

    keys: tuple[ApiKey, ...] = ()


class Principal(NamedTuple):
    """The caller of a request and what it may do.

    Attributes:
        id: Of the key; `OPEN` and a service's own calls have names instead.
        tenants: Whose rows it may ask about; None is everybody's.
        products: Which products; None is all.
    """

    id: str
    tenants: frozenset[str] | None
    products: frozenset[str] | None
    roles: frozenset[Role]

    def may_ask(self, product: str | None) -> bool:
        """Whether the product is within its scope; None is what concerns all products."""
        return self.products is None or product in self.products

    def foreign(self, tenants: Iterable[str]) -> list[int]:
        """Positions of the rows that are of tenants it may not ask about."""
        if self.tenants is None:
            return []
        return [place for place, tenant in enumerate(tenants) if tenant not in self.tenants]

    @property
    def only_tenant(self) -> str | None:
        """The one tenant it speaks for, when there is exactly one."""
        if self.tenants is None or len(self.tenants) != 1:
            return None
        return next(iter(self.tenants))


#: Everybody, where no key is asked for.
OPEN = Principal("open", None, None, frozenset(ROLES))


def principal(key: ApiKey) -> Principal:
    """The caller that presents this key."""
    return Principal(key.id, _scope(key.tenants), _scope(key.products), frozenset(key.roles))


def _scope(names: Sequence[str]) -> frozenset[str] | None:
    return None if ALL in names else frozenset(names)
