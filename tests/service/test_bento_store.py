"""What is in a bento, and that a version is built once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import yaml

from models.risk.sync_conflict.product import PRODUCT
from stores import bento_store
from stores.bento_store import BentoError, build
from stores.files import sha256
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
    assert {p.name for p in source.iterdir() if p.is_dir()} == {"models", "bentos"}
    assert (source / "models/risk/sync_conflict/learner.py").is_file()
    assert (source / "bentos/row_scores/service.py").is_file()


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
