"""Sealed artifacts: what is verified loads, everything else is refused with words."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.contracts.learner import TrainingRows
from models.contracts.product import Trial
from models.core import artifact, linear, signing
from models.core.artifact import ArtifactError

FIELDS = {
    "product": "test/rows",
    "trial": "plain",
    "snapshot_id": "0" * 16,
    "learner": "tests.unit.test_artifact:Learner",
    "code_version": "1",
    "params": {"model": "logistic"},
    "columns": ("a", "b"),
    "tenants": ("t",),
    "seed": 0,
    "cv": {"roc_auc": (0.7, 0.8)},
    "threshold": 0.4,
    "fit_seconds": 0.1,
}


class Learner:
    def fit(self, trial, rows):
        return linear.fit(trial, rows)

    def load(self, folder):
        return linear.load(folder)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return signing.ensure_keypair(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture(scope="module")
def predictor():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 2))
    inputs[::9, 1] = np.nan
    return Learner().fit(
        Trial(name="plain", params={"model": "logistic"}),
        TrainingRows(inputs, (inputs[:, 0] > 0).astype(float), ("a", "b")),
    )


@pytest.fixture
def sealed(tmp_path, keys, predictor):
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    artifact.seal(folder, private_key=keys[0], **FIELDS)
    return folder


def test_what_was_sealed_is_loaded_and_predicts_the_same(sealed, keys, predictor):
    candidate, loaded = artifact.load(sealed, keys[1], Learner())
    assert candidate.trial == "plain"
    assert set(candidate.files) == {"model.json", "pipeline.skops"}
    assert {p.name for p in sealed.iterdir()} == {*candidate.files, "manifest.json", "model.sig"}
    rows = np.array([[0.3, np.nan], [-2.0, 1.0]])
    np.testing.assert_array_equal(loaded.predict(rows), predictor.predict(rows))


def test_sealing_again_gives_the_same_id_and_other_content_another(tmp_path, keys, predictor):
    def sealed_id(name, **changes):
        folder = tmp_path / name
        folder.mkdir()
        predictor.save(folder)
        return artifact.seal(folder, private_key=keys[0], **{**FIELDS, **changes}).candidate_id

    first = sealed_id("one")
    assert len(first) == 16
    assert sealed_id("two", fit_seconds=9.0) == first  # how long it took is not what it is
    for change in ({"seed": 1}, {"snapshot_id": "1" * 16}, {"params": {}}, {"code_version": "2"}):
        assert sealed_id(f"{change}", **change) != first


def test_a_copy_under_another_name_verifies(sealed, keys, tmp_path):
    copied = shutil.copytree(sealed, tmp_path / "elsewhere" / "other")
    assert artifact.verify(copied, keys[1]) == artifact.verify(sealed, keys[1])


def test_sealing_twice_in_place_is_a_fresh_seal(sealed, keys):
    again = artifact.seal(sealed, private_key=keys[0], **{**FIELDS, "seed": 5})
    assert artifact.verify(sealed, keys[1]) == again
    assert sorted(p.name for p in sealed.parent.iterdir()) == ["model"]  # nothing left beside


def test_an_empty_folder_is_not_sealed(tmp_path, keys):
    with pytest.raises(ArtifactError, match="empty; save the predictor"):
        artifact.seal(tmp_path, private_key=keys[0], **FIELDS)


def flip(path, at=-10):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


TAMPERING = {
    "a changed model": (lambda f: (f / "model.json").write_text("{}"), "signature refused"),
    "a changed threshold": (lambda f: edit(f, threshold=0.01), "signature refused"),
    "a changed signature": (lambda f: flip(f / "model.sig", 200), "signature refused"),
    "an empty signature": (lambda f: (f / "model.sig").write_text("{}"), "signature refused"),
    "a list as signature": (lambda f: (f / "model.sig").write_text("[]"), "signature refused"),
    "an added file": (lambda f: (f / "more.json").write_text("{}"), "signature refused.*more.json"),
    "a git file": (lambda f: (f / ".gitignore").write_text(""), "without a suffix"),
    "a removed file": (lambda f: (f / "model.json").unlink(), "signature refused.*model.json"),
    "no signature": (lambda f: (f / "model.sig").unlink(), "no model.sig, it was never sealed"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
    "a link": (lambda f: (f / "more.json").symlink_to(f / "model.json"), "no plain file"),
    "a fifo": (lambda f: os.mkfifo(f / "x.json"), "no plain file"),
    "a file below": (lambda f: ((f / "d").mkdir(), (f / "d/x.json").write_text("1")), "refused"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_refused(name, sealed, keys):
    change, said = TAMPERING[name]
    change(sealed)
    with pytest.raises(ArtifactError, match=said) as caught:
        artifact.load(sealed, keys[1], Learner())
    assert (
        "fit the candidate again" in str(caught.value)
        or "never load" in str(caught.value)
        or ("only plain files" in str(caught.value))
    )


def test_another_key_is_refused(sealed, tmp_path):
    _, stranger = signing.ensure_keypair(tmp_path / "stranger")
    with pytest.raises(ArtifactError, match=r"signature refused.*public key"):
        artifact.verify(sealed, stranger)
    with pytest.raises(ArtifactError, match="signature refused"):
        artifact.verify(sealed, tmp_path / "no-such-key.pem")


def test_a_signature_over_a_wrong_manifest_is_refused(sealed, keys):
    """Who holds the key can sign nonsense; manifest and files must still agree."""
    files = json.loads((sealed / "manifest.json").read_text())["files"]
    edit(sealed, files=files | {"model.json": "0" * 64})
    signing.sign(sealed, keys[0])
    with pytest.raises(ArtifactError, match=r"\['model.json'\] differ from the manifest"):
        artifact.verify(sealed, keys[1])
    edit(sealed, files=files, seed=7)
    signing.sign(sealed, keys[0])
    with pytest.raises(ArtifactError, match="not that of its content"):
        artifact.verify(sealed, keys[1])
    edit(sealed, surprise=1)
    signing.sign(sealed, keys[0])
    with pytest.raises(ArtifactError, match="no manifest"):
        artifact.verify(sealed, keys[1])


def test_a_pickle_in_an_artifacts_place_is_refused_even_when_signed(sealed, keys):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    (sealed / "pipeline.skops").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ArtifactError, match=r"pipeline.skops is a pickle: loading it would run"):
        artifact.load(sealed, keys[1], Learner())
    signing.sign(sealed, keys[0])
    with pytest.raises(ArtifactError, match="is a pickle"):
        artifact.load(sealed, keys[1], Learner())
    with pytest.raises(ArtifactError, match="is a pickle"):
        artifact.seal(sealed, private_key=keys[0], **FIELDS)


def test_a_type_outside_the_allow_list_is_refused(sealed, keys):
    import skops.io

    strange = skops.io.dumps(subprocess.Popen)
    (sealed / "pipeline.skops").write_bytes(strange)
    artifact.seal(sealed, private_key=keys[0], **FIELDS)
    with pytest.raises(ArtifactError, match=r"subprocess.Popen.*Refused"):
        artifact.load(sealed, keys[1], Learner())


def test_importing_is_light_and_verifying_is_quick(sealed, keys):
    heavy = "sorted({m.split('.')[0] for m in sys.modules} & "
    heavy += "{'model_signing', 'cryptography', 'sigstore', 'skops', 'sklearn', 'pandas'})"
    code = f"import sys, models.core.artifact; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        artifact.verify(sealed, keys[1])
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.1


def test_no_network_is_asked(sealed, keys, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    artifact.verify(sealed, keys[1])
    signing.sign(sealed, keys[0])


def test_a_failed_signing_leaves_nothing_that_verifies(sealed, keys, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        artifact.seal(sealed, private_key=keys[0], **FIELDS)
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="never sealed"):
        artifact.verify(sealed, keys[1])
