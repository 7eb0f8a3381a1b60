"""Who is let in, and what is believed of what they say: keys, the service token, rates.

Callers come with an API key. A service behind a gateway is asked by nobody else: the gateway shows
the service token, and what it says beside it (whose request it is, which tenants, what for) is
believed. Where neither keys nor a token are set up everybody is let in and believed, which is for
loopback. Bodies are not looked at here: whose rows they hold is judged by who parses them.
"""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.errors import Refused, StartError
from gateway.headers import NOBODY, SERVICE_TOKEN, Admitted, Headers, caller_told
from gateway.keys import KeyRing, Reason, Unknown
from gateway.meters import METERS
from gateway.rate import MemoryRates, Rates, RedisRates
from gateway.redis_store import RedisStore
from models.contracts.keys import OPEN, Principal, Role

KEYS, TOKEN, REDIS = "ASSAY_KEYS", "ASSAY_SERVICE_TOKEN_FILE", "ASSAY_REDIS_URL"

_BEARER = b"bearer "
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Wanted(NamedTuple):
    """What a request is for, as its route says.

    Attributes:
        product: None when it concerns no one product.
        role: None when any key will do.
        public: No key is asked for: probes and figures, which say nothing about anybody.
    """

    product: str | None = None
    role: Role | None = None
    public: bool = False


#: Beside the contract's own, what BentoML and a gateway answer to whoever watches over processes.
PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_ROLES: Mapping[str, Role] = {"/predict": "predict", "/outcome": "outcome"}


def wanted_by_path(_: str, path: str) -> Wanted:
    """What a path of one product's own service is for."""
    return Wanted(None, _ROLES.get(path), path in PUBLIC_PATHS)


class Door:
    """Lets in, or refuses with 401, 403 or 429.

    Args:
        ring: Keys of callers; None asks for none.
        token: What a gateway shows to the services behind it; None believes nobody by a token.
        rates: Accounts of the keys.
    """

    def __init__(
        self,
        ring: KeyRing | None = None,
        token: str | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._ring, self._rates = ring, rates or MemoryRates()
        self._token = token.encode() if token else None

    @property
    def closed(self) -> bool:
        """Whether anybody is kept out: by keys, and where none are meant to be, by the token."""
        return self._ring.asked_for if self._ring is not None else self._token is not None

    async def admit(self, headers: Headers, wanted: Wanted) -> Admitted:
        """Let a caller in.

        Args:
            headers: Names in lower case.
            wanted: What its request is for.

        Raises:
            Refused: 401 without a valid key or token, 403 outside its scope, 429 too fast.
        """
        if self._shows_token(headers):
            return Admitted(caller_told(headers), trusted=True)
        if not self.closed:
            return Admitted(OPEN, trusted=True)
        if wanted.public:
            return Admitted(NOBODY, trusted=False)
        caller = self._caller(headers)
        self._check_scope(caller, wanted)
        await self.charge(caller)
        return Admitted(caller, trusted=False)

    async def charge(self, caller: Principal, rows: int = 1) -> None:
        """Take rows from a caller's account; `admit` took the first one of a request.

        Raises:
            Refused: 429; ``retry-after`` says when to come again.
        """
        key = self._ring.by_id(caller.id) if self._ring else None
        if key is None or rows < 1:  # open, or counted by the gateway in front
            return
        if wait := await self._rates.take(key.id, rows, key.rate, key.burst):
            METERS.inc("assay_rate_limited_total")
            seconds = max(1, math.ceil(wait))
            raise Refused(
                429,
                f"this key may ask for {key.rate:g} rows a second; come again in {seconds} s",
                [(b"retry-after", str(seconds).encode())],
            )

    def _shows_token(self, headers: Headers) -> bool:
        shown = headers.get(SERVICE_TOKEN)
        if self._token is None or shown is None:
            return False
        if not hmac.compare_digest(shown, self._token):
            raise _unknown("unknown", "the service token is not that of this service")
        return True

    def _caller(self, headers: Headers) -> Principal:
        if self._ring is None:
            raise _unknown("missing", "this service answers its gateway only; ask there")
        presented = _presented(headers)
        if not presented:
            raise _unknown("missing", "send 'Authorization: Bearer <key>' or 'X-API-Key'")
        try:
            return self._ring.find(presented).caller
        except Unknown as error:
            old = f"this key is {error.reason}"
            words = "no such key" if error.reason == "unknown" else old
            raise _unknown(error.reason, f"{words}; `assay keys` makes and lists keys") from None

    def _check_scope(self, caller: Principal, wanted: Wanted) -> None:
        if wanted.product is not None and not caller.may_ask(wanted.product):
            raise _outside("product: this key is not for it")
        if wanted.role is not None and wanted.role not in caller.roles:
            raise _outside(f"role: this key has not the role {wanted.role!r}")


def build(keys: Path | None, token: Path | None, redis_url: str | None = None) -> Door:
    """The door of a process.

    Args:
        keys: File of the keys; it may be made later. None asks for none, ever.
        token: File of the service token.
        redis_url: Where several routers keep their accounts together.

    Raises:
        StartError: A file cannot be used.
    """
    ring = KeyRing(keys) if keys else None
    return Door(ring, read_token(token) if token else None,
                RedisRates(RedisStore(redis_url)) if redis_url else MemoryRates())  # fmt: skip


def for_service() -> Door:
    """The door of one product's service: ``ASSAY_SERVICE_TOKEN_FILE``, or open.

    Keys are a gateway's affair: a service inherits its environment, and could judge no scope.

    Raises:
        StartError: The file holds no token.
    """
    token = os.environ.get(TOKEN, "")
    return build(None, Path(token) if token else None)


def for_gateway() -> Door:
    """The door that ``ASSAY_KEYS``, ``ASSAY_SERVICE_TOKEN_FILE`` and ``ASSAY_REDIS_URL`` set up.

    Raises:
        StartError: A file cannot be used.
    """
    keys, token = (os.environ.get(name, "") for name in (KEYS, TOKEN))
    redis_url = os.environ.get(REDIS, "")
    return build(Path(keys) if keys else None, Path(token) if token else None, redis_url or None)


def require_closed(door: Door, host: str) -> None:
    """Keep a process from serving the world without keys.

    Raises:
        StartError: Everybody on other machines would be let in; ``ASSAY_OPEN=1`` insists on it.
    """
    if not door.closed and host not in _LOOPBACK and os.environ.get("ASSAY_OPEN", "0") != "1":
        raise StartError(
            f"everybody who reaches {host} would be answered; make a key (`assay keys add`), serve"
            " on 127.0.0.1, or set ASSAY_OPEN=1 to insist"
        )


def _presented(headers: Headers) -> str:
    """The key, from either header."""
    given = headers.get(b"authorization", b"")
    if given[: len(_BEARER)].lower() == _BEARER:
        return given[len(_BEARER) :].strip().decode("latin-1")
    return headers.get(b"x-api-key", b"").strip().decode("latin-1")


def _unknown(reason: Reason, message: str) -> Refused:
    METERS.inc("assay_auth_refused_total", reason=reason)
    return Refused(401, message, [(b"www-authenticate", b"Bearer")])


def _outside(message: str) -> Refused:
    METERS.inc("assay_auth_refused_total", reason="scope")
    return Refused(403, message)


def read_token(path: Path) -> str:
    """The service token.

    Raises:
        StartError: The file holds none.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        token = ""
    if len(token) < 32:
        raise StartError(f"{path} holds no service token; `assay serve` makes one")
    return token
