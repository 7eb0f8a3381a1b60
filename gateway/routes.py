"""The paths of a gateway: which there are, whose they are, and what they are for.

A label of a metric is a template from here, never a path. Who may ask is said by `Wanted`; what is
answered is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from gateway.door import PUBLIC_PATHS, Wanted
from gateway.errors import Refused
from gateway.lane import NO_SUCH_PATH, OTHER_METHOD
from models.contracts.keys import Role
from models.contracts.product import ModelProduct

Kind = Literal["contract", "alias", "system"]

VERSIONS = "/models"
_READ = ("GET", "HEAD")
#: Of every product, below ``/v1/<domain>/<product>``: methods, and the role that is needed.
CONTRACT: dict[str, tuple[tuple[str, ...], Role | None]] = {
    "predict": (("POST",), "predict"),
    "outcome": (("POST",), "outcome"),
    "health": (_READ, None),
    "models": (_READ, None),
}
SYSTEM = ("/health", "/livez", "/readyz", "/metrics", "/docs.json", "/v1/products")


class Match(NamedTuple):
    """A path that there is.

    Attributes:
        product: Key; None of what concerns no one product.
        name: Of a contract's route its last part, else the path.
        template: The path with names in place of what varies.
        version: Of ``.../models/<version>``.
    """

    kind: Kind
    product: str | None
    name: str
    template: str
    methods: tuple[str, ...]
    wanted: Wanted
    version: str | None = None


class Extra(NamedTuple):
    """A path beside those of the contracts."""

    method: str
    path: str
    product: str | None
    role: Role


class Routes:
    """All paths of one gateway.

    Args:
        products: That it may serve.
        extras: Further paths; those of products that are not among these are left out.
    """

    def __init__(self, products: Iterable[ModelProduct], extras: Sequence[Extra] = ()) -> None:
        keys = [product.key for product in products]
        self._versions = {f"/v1/{key}{VERSIONS}/": key for key in keys}
        self._paths = {path: _system(path) for path in SYSTEM}
        for key in keys:
            for name in CONTRACT:
                self._paths[f"/v1/{key}/{name}"] = _contract(key, name)
        for extra in extras:
            if extra.product is None or extra.product in keys:
                self._paths[extra.path] = _alias(extra)

    def find(self, path: str) -> Match | None:
        """The route of a path, whatever the method."""
        found = self._paths.get(path)
        if found is not None:
            return found
        stem, _, version = path.rpartition("/")
        key = self._versions.get(f"{stem}/")
        if key is None or not version:
            return None
        return _contract(key, "models")._replace(
            name="model", template=f"/v1/{key}{VERSIONS}/{{version}}", version=version
        )

    def match(self, method: str, path: str) -> Match:
        """The route of a request.

        Raises:
            Refused: 404 for no path of ours, 405 for another method.
        """
        found = self.find(path)
        if found is None:
            raise Refused(404, NO_SUCH_PATH)
        if method not in found.methods:
            allow = (b"allow", ", ".join(found.methods).encode())
            raise Refused(405, OTHER_METHOD, [allow])
        return found

    def wanted(self, _: str, path: str) -> Wanted:
        """What a request is for, for the guard; a path there is not takes any key."""
        found = self.find(path)
        return found.wanted if found else Wanted()


def _system(path: str) -> Match:
    return Match("system", None, path, path, _READ, Wanted(public=path in PUBLIC_PATHS))


def _contract(key: str, name: str) -> Match:
    methods, role = CONTRACT[name]
    return Match("contract", key, name, f"/v1/{key}/{name}", methods, Wanted(key, role))


def _alias(extra: Extra) -> Match:
    methods = _READ if extra.method == "GET" else (extra.method,)
    wanted = Wanted(extra.product, extra.role)
    return Match("alias", extra.product, extra.path, extra.path, methods, wanted)
