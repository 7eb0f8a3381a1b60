"""Discovery: a complete folder is a product; a half one is an error that says what to mend."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import registry
from models.registry import ProductError, discover, get, load_learner, products
from models.risk.sync_conflict.product import PRODUCT

PACKAGE = "discovered"
SPEC = """
from models.risk.sync_conflict.product import PRODUCT as BASE
LEARNER = "{package}.{module}.learner:Learner"
PRODUCT = BASE.model_copy(update={{"key": {key!r}, "learner": LEARNER}})
"""
LEARNER = """
class Learner:
    def fit(self, trial, rows):
        raise NotImplementedError

    def load(self, folder):
        raise NotImplementedError
"""
Add = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package on the path; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder
    for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]


@pytest.fixture
def add(root: Path) -> Add:
    """Writes a product folder; ``files`` replaces a file's text, None leaves the file out."""

    def write(key: str, **files: str | None) -> Path:
        folder = root / key
        folder.mkdir(parents=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
        spec = SPEC.format(key=key, package=PACKAGE, module=key.replace("/", "."))
        given = {"product": spec, "learner": LEARNER, "card": "# Model card", **files}
        names = {"product": "product.py", "learner": "learner.py", "card": "CARD.md"}
        for name, text in given.items():
            if text is not None:
                (folder / names[name]).write_text(text)
        return folder

    return write


def test_the_project_has_its_products():
    assert PRODUCT in products()
    assert [product.key for product in products()] == sorted(p.key for p in products())
    assert products() is products(), "found once per process"


def test_folders_are_found_in_the_order_of_their_keys(root: Path, add: Add):
    for key in ("risk/zeta", "risk/alpha", "anomaly/omega"):
        add(key)
    (root / "contracts").mkdir()
    (root / "risk" / "notes").mkdir()  # a folder without product.py is no product
    found = discover(root, PACKAGE)
    assert [product.key for product in found] == ["anomaly/omega", "risk/alpha", "risk/zeta"]


def test_nothing_is_found_in_an_empty_package(root: Path):
    assert discover(root, PACKAGE) == ()


def test_a_found_product_has_its_own_learner(root: Path, add: Add):
    add("risk/alpha")
    (product,) = discover(root, PACKAGE)
    learner = load_learner(product)
    assert type(learner).__module__ == f"{PACKAGE}.risk.alpha.learner"


def test_a_key_that_is_not_its_folder_is_named(root: Path, add: Add):
    add("risk/alpha", product=SPEC.format(key="risk/beta", package=PACKAGE, module="risk.alpha"))
    with pytest.raises(ProductError, match=r"key is 'risk/beta', its folder says 'risk/alpha'"):
        discover(root, PACKAGE)


@pytest.mark.parametrize("text", ["", "PRODUCT = 'a string'", "product = None"])
def test_a_product_file_without_a_product_is_named(root: Path, add: Add, text: str):
    add("risk/alpha", product=text)
    with pytest.raises(ProductError, match=r"risk/alpha/product\.py: define PRODUCT = ModelProd"):
        discover(root, PACKAGE)


@pytest.mark.parametrize(("left_out", "said"), [("learner", "learner.py"), ("card", "CARD.md")])
def test_a_missing_file_is_named_with_the_guide(root: Path, add: Add, left_out: str, said: str):
    add("risk/alpha", **{left_out: None})
    with pytest.raises(ProductError, match=rf"{said} is missing; see docs/add-a-model\.md"):
        discover(root, PACKAGE)


def test_a_broken_import_is_not_swallowed(root: Path, add: Add):
    add("risk/alpha")
    add("risk/beta", product="import a_package_nobody_has")
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        discover(root, PACKAGE)


def test_get_lists_what_there_is():
    assert get(PRODUCT.key) is PRODUCT
    with pytest.raises(ProductError, match=r"no product 'risk/nothing'; there are: .*sync_confl"):
        get("risk/nothing")


def test_a_learner_that_is_not_there_is_named():
    module = PRODUCT.learner.partition(":")[0]
    wrong = PRODUCT.model_copy(update={"learner": f"{module}:NoLearner"})
    with pytest.raises(ProductError, match=rf"{PRODUCT.key}: {module}:NoLearner does not exist"):
        load_learner(wrong)


def test_an_attribute_error_inside_a_learner_is_not_taken_for_a_missing_one(root: Path, add: Add):
    broken = "class Learner:\n    def __init__(self):\n        self.nothing.there\n"
    add("risk/alpha", learner=broken)
    (product,) = discover(root, PACKAGE)
    with pytest.raises(AttributeError, match="nothing"):
        load_learner(product)


def test_the_guide_that_errors_point_to_is_there():
    assert (registry.ROOT.parent / "docs" / "add-a-model.md").is_file()
