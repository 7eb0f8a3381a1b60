"""API keys and the service token on disk: made, listed, revoked. Lets nobody in.

A key's secret is made here, given to the caller once and kept nowhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from models.contracts.keys import ALL, PREFIX, ApiKey, KeyFile, Role
from stores.files import write_atomic
from stores.home import Home

KEYS = "ASSAY_KEYS"
#: A gateway tells the tenants of a key to the service, in a header.
_TENANT_BYTES = 4_096


class KeyStoreError(Exception):
    """A key that cannot be made or found; the message says what to do."""


class Made(NamedTuple):
    """A new key, and what its holder presents: to be shown now or never."""

    key: ApiKey
    presented: str


class KeyStore:
    """The keys of one deployment.

    Args:
        path: ``<home>/keys/api-keys.json``, readable by its owner only.
        now: Clock of the entries.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path, self._now = path, now

    def keys(self) -> tuple[ApiKey, ...]:
        """All keys, oldest first, revoked ones too.

        Raises:
            KeyStoreError: The file is no list of keys.
        """
        if not self.path.exists():
            return ()
        try:
            return KeyFile.model_validate_json(self.path.read_bytes()).keys
        except ValueError:
            raise KeyStoreError(f"{self.path} is no list of keys; restore a copy") from None

    def add(
        self,
        *,
        tenants: Sequence[str],
        products: Sequence[str],
        roles: Sequence[Role],
        by: str,
        rate: float = 100.0,
        burst: int = 1_000,
        days: int | None = None,
    ) -> Made:
        """Make a key; services know it two seconds later.

        Args:
            tenants: Whose rows it may ask about, or ``*``.
            products: Keys of products, or ``*``.
            roles: What for.
            by: Who makes it.
            rate: Rows a second.
            burst: Rows at once.
            days: After which it expires; None never.

        Raises:
            KeyStoreError: No tenant, too many, or ``*`` beside names.
        """
        _check(tenants, "tenant")
        _check(products, "product")
        if len(json.dumps(sorted(tenants))) > _TENANT_BYTES:
            raise KeyStoreError("too many tenants for one key; make several keys, or use *")
        identity, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), self._now()
        key = ApiKey(
            id=identity,
            digest=hashlib.sha256(secret.encode()).hexdigest(),
            tenants=tuple(tenants),
            products=tuple(products),
            roles=tuple(roles),
            rate=rate,
            burst=burst,
            created_at=now,
            expires_at=now + timedelta(days=days) if days is not None else None,
            by=by,
        )
        with self._alone():
            self._write((*self.keys(), key))
        return Made(key, f"{PREFIX}{identity}_{secret}")

    def revoke(self, identity: str) -> ApiKey:
        """Close a key for good; it stays in the list. Revoking it again changes nothing.

        Raises:
            KeyStoreError: There is no such key.
        """
        with self._alone():
            keys = {key.id: key for key in self.keys()}
            if identity not in keys:
                raise KeyStoreError(f"no key {identity!r}; `assay keys list` shows them")
            found = keys[identity]
            if found.revoked_at is None:
                found = found.model_copy(update={"revoked_at": self._now()})
                self._write(tuple((keys | {identity: found}).values()))
        return found

    def _alone(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock")

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        write_atomic(self.path, KeyFile(keys=keys).model_dump_json(indent=1))


def keys_path(home: Home) -> Path:
    """Where the keys are: ``ASSAY_KEYS``, else below the home."""
    named = os.environ.get(KEYS, "")
    return Path(named) if named else home.keys / "api-keys.json"


def service_token(home: Home) -> Path:
    """File of the token that a gateway shows to services; made on first use."""
    path = home.keys / "service-token"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            write_atomic(path, secrets.token_urlsafe(32))
    return path


def _check(names: Sequence[str], what: str) -> None:
    if not names or (ALL in names and len(names) > 1):
        raise KeyStoreError(f"give each {what} by name, or {ALL} alone for all")
