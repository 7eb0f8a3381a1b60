"""What is in a bento, and that a version is built once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import yaml

from models.contracts.product import ModelProduct
from models.contracts.routing import Rule
from models.risk.sync_conflict.product import PRODUCT
from stores import bento_store
from stores.bento_store import BentoError, Spares, build
from stores.files import sha256
from stores.templates import SERVICE_DOCKERFILE
from tests.service.site import Built, Site


def files(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256(f) for f in folder.rglob("*") if f.is_file()}


def test_the_bento_names_its_exact_model_and_arguments(first: Built):
    assert first.ref.tag == first.ref.model_tag == "risk_sync_conflict:v20260101_000000"
    spec = yaml.safe_load((first.ref.path / "bento.yaml").read_text())
    assert spec["services"][0]["models"][0]["tag"] == first.ref.model_tag
    assert spec["args"] == {
        "product": PRODUCT.key, "model": first.ref.model_tag, "version": "v20260101_000000",
    }  # fmt: skip


def test_the_model_store_holds_the_very_artifact(site: Site, first: Built):
    stored = site.bentos / "models" / PRODUCT.slug / "v20260101_000000" / bento_store.ARTIFACT
    assert files(stored) == files(first.folder)


def test_the_bento_holds_the_code_it_needs_and_nothing_of_the_platform(first: Built):
    source = first.ref.path / "src"
    assert {p.name for p in source.iterdir() if p.is_dir()} == {"models", "gateway", "bentos"}
    assert (source / "models/risk/sync_conflict/learner.py").is_file()
    assert (source / "bentos/row_scores/service.py").is_file()


def test_its_image_is_built_by_our_own_file(first: Built):
    assert sha256(first.ref.path / "env/docker/Dockerfile") == sha256(SERVICE_DOCKERFILE)


def test_what_answers_in_need_is_packed_beside_the_model_once(
    site: Site, first: Built, second: Built, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bento_store, "_run_build", _made_up)
    rule = Rule(product=PRODUCT.key, probability=0.25, threshold=0.5)
    asked: list[int] = []

    def spares() -> Spares:
        asked.append(1)
        return Spares(second.folder, rule)

    for _ in range(2):
        build(PRODUCT, first.folder, "v20260501_000000", site.bentos, site.keys[1], spares=spares)
    model = site.bentos / "models" / PRODUCT.slug / "v20260501_000000"
    assert files(model / "baseline") == files(second.folder)
    assert Rule.model_validate_json((model / "rule.json").read_bytes()) == rule
    assert asked == [1]


def _made_up(product: ModelProduct, artifact: Path, version: str, scratch: Path) -> None:
    """Folders as BentoML leaves them."""
    shutil.copytree(artifact, scratch / "models" / product.slug / version / "artifact")
    (scratch / "bentos" / product.slug / version / "env/docker").mkdir(parents=True)


def test_requirements_are_exact_and_name_no_host(first: Built):
    lines = (first.ref.path / "env/python/requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines if line} >= set(
        bento_store.REQUIREMENTS[PRODUCT.contract]
    )
    assert all("==" in line and "://" not in line for line in lines if line)


def test_the_same_version_is_not_built_again(site: Site, first: Built):
    before = files(first.ref.path)
    begun = time.perf_counter()
    assert build(PRODUCT, first.folder, "v20260101_000000", site.bentos, site.keys[1]) == first.ref
    assert time.perf_counter() - begun < 1.0
    assert files(first.ref.path) == before


def test_a_version_never_changes_its_model(site: Site, first: Built, second: Built):
    with pytest.raises(BentoError, match=r"already holds another artifact.*new version"):
        build(PRODUCT, second.folder, "v20260101_000000", site.bentos, site.keys[1])


def test_a_tampered_artifact_is_not_packed(site: Site, first: Built, tmp_path: Path):
    copied = shutil.copytree(first.folder, tmp_path / "copy")
    (copied / "model.json").write_bytes(b"{}")
    with pytest.raises(BentoError, match=r"not packed.*signature refused"):
        build(PRODUCT, copied, "v20260301_000000", site.bentos, site.keys[1])
    assert not (site.bentos / "bentos" / PRODUCT.slug / "v20260301_000000").exists()


def test_a_failed_build_leaves_nothing_and_says_what_bentoml_said(site: Site, first: Built):
    broken = PRODUCT.model_copy(update={"contract": "no_such_contract"})
    with pytest.raises(BentoError, match="no_such_contract"):
        build(broken, first.folder, "v20260401_000000", site.bentos, site.keys[1])
    assert not list(site.bentos.glob(".build-*"))
    assert not list(site.bentos.glob("*/*/v20260401_000000"))
