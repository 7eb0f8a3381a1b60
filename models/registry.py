"""Finds the products: every ``models/<domain>/<product>/product.py`` with a ``PRODUCT`` in it."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.contracts.product import ModelProduct

if TYPE_CHECKING:
    from models.contracts.learner import Learner

ROOT = Path(__file__).parent


class ProductError(Exception):
    """A product folder that cannot be used; the message says what to mend."""


def discover(root: Path = ROOT, package: str = "models") -> tuple[ModelProduct, ...]:
    """All products below ``root``, ordered by key.

    Args:
        root: Folder that holds ``<domain>/<product>/product.py``.
        package: Import name of ``root``.

    Returns:
        The products, ordered by key.

    Raises:
        ProductError: A ``product.py`` without a ``PRODUCT``, a key that is not its folder, or a
            folder without its ``learner.py`` or ``CARD.md``. A broken import is never swallowed.
    """
    found = []
    for path in sorted(root.glob("*/*/product.py")):
        folder = path.parent
        key = f"{folder.parent.name}/{folder.name}"
        module = importlib.import_module(f"{package}.{key.replace('/', '.')}.product")
        product = getattr(module, "PRODUCT", None)
        if not isinstance(product, ModelProduct):
            raise ProductError(f"{path}: define PRODUCT = ModelProduct(...)")
        if product.key != key:
            raise ProductError(f"{path}: key is {product.key!r}, its folder says {key!r}")
        for name in ("learner.py", "CARD.md"):
            if not (folder / name).is_file():
                raise ProductError(f"{folder}: {name} is missing; see docs/add-a-model.md")
        found.append(product)
    return tuple(found)


@cache
def products() -> tuple[ModelProduct, ...]:
    """The products of this project, found once per process."""
    return discover()


def get(key: str) -> ModelProduct:
    """The product with this key.

    Raises:
        ProductError: No such product; the message lists those there are.
    """
    for product in products():
        if product.key == key:
            return product
    raise ProductError(f"no product {key!r}; there are: {', '.join(p.key for p in products())}")


def load_learner(product: ModelProduct) -> Learner[Any, Any]:
    """Import and instantiate the product's learner (heavy: call it inside a stage).

    Raises:
        ProductError: The named attribute does not exist.
    """
    module_name, _, attribute = product.learner.partition(":")
    module = importlib.import_module(module_name)
    make = getattr(module, attribute, None)
    if make is None:
        raise ProductError(f"{product.key}: {product.learner} does not exist")
    learner: Learner[Any, Any] = make()
    return learner
