"""Who may administrate, and the record of it: the admin token, or an API key with this role.

A key acts on the products of its scope only; which product a call is about is said by who parsed
it, through `permitted`. Every call of somebody who was let in is written to the audit log, refused
ones too; strangers leave no line, or they could fill the disk.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from gateway.audit import AdminCall, AuditError, AuditLog
from gateway.door import Door, Wanted
from gateway.errors import Refused
from gateway.keys import KeyRing
from models.contracts.keys import OPEN, Principal
from models.contracts.product import ModelProduct
from models.registry import get
from stores.files import write_atomic
from stores.home import Home
from stores.key_store import keys_path

TOKEN = OPEN._replace(id="token")
MAX_BODY_BYTES = 65_536
_LOG = logging.getLogger("assay.admin")


@dataclass
class Call:
    """A call under way.

    Attributes:
        product: Key; None until somebody parsed it.
    """

    caller: Principal
    product: str | None = None


CALL: ContextVar[Call] = ContextVar("call")


class OutOfScopeError(Exception):
    """The caller's key is not for this product."""


def token(home: Path) -> str:
    """The admin token, made on first use and readable by its owner only."""
    path = home / "keys" / "admin-token"
    if not path.exists():
        write_atomic(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8")


def permitted(key: str) -> ModelProduct:
    """The product a call is about.

    Raises:
        ProductError: There is none with this key.
        OutOfScopeError: The caller may not act on it.
    """
    call = CALL.get()
    if not call.caller.may_ask(key):
        raise OutOfScopeError("this API key is not for this product")
    call.product = get(key).key
    return get(key)


def require_all_products() -> None:
    """Let only callers see what is about all products at once.

    Raises:
        OutOfScopeError: The caller's key is for some products.
    """
    if CALL.get().caller.products is not None:
        raise OutOfScopeError("this is about all products, and this API key is for some")


class Access:
    """The way in and the audit log of one home."""

    def __init__(self, home: Home) -> None:
        self._expected = f"Bearer {token(home.root)}".encode()
        self._ring = KeyRing(keys_path(home))
        self._door = Door(self._ring)
        self.log = AuditLog(home.root / "audit" / "admin.jsonl")

    async def caller(self, request: Request) -> Principal:
        """Who calls.

        Raises:
            Refused: 401, 403 or 429: nobody who may.
        """
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, self._expected):
            return TOKEN
        if not self._ring.asked_for or not (given or "x-api-key" in request.headers):
            raise Refused(
                401,
                "send 'Authorization: Bearer <content of keys/admin-token>', or an API key with the"
                " role admin",
                [(b"www-authenticate", b"Bearer")],
            )
        admitted = await self._door.admit(dict(request.headers.raw), Wanted(role="admin"))
        return admitted.principal

    async def enter(self, request: Request) -> tuple[Call, bytes]:
        """Let a call in whose record can be written.

        Returns:
            The call, which is the context's from now on, and its body.

        Raises:
            Refused: 401, 403, 413, 429, or 503 when the audit log takes no line.
        """
        call = Call(await self.caller(request))
        body = await _body(request)
        try:
            await run_in_threadpool(self.log.prove)
        except AuditError as error:
            raise Refused(503, str(error)) from None
        CALL.set(call)
        return call, body

    def note(self, call: Call, request: Request, content: bytes, status: int, name: str) -> None:
        """Write a call down; the answer is not kept back when that fails, the next call is."""
        content = content or str(request.query_params).encode()
        done = AdminCall(
            caller=call.caller.id,
            route=f"{request.method} {request.url.path}",
            product=call.product,
            body_digest=hashlib.sha256(content).hexdigest(),
            status=status,
            request_id=name,
        )
        try:
            self.log.append(done)
        except AuditError:
            _LOG.exception("a call is missing in the audit log: %s", done)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"a body may have {MAX_BODY_BYTES} bytes")
    return body
