"""Homes that are made once and copied by the tests that change them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from assets import dbt_manifest
from models.contracts.product import ModelProduct
from models.core import artifact
from models.kinds import kind_of
from stores.deployer import Deployer, ServiceRecord
from stores.reports import evidently_drift
from tests.flow.chain import CHEAP, TREES, Place, Ran, deployer_of, with_trials
from tests.flow.traffic_files import WATCHED, Traffic


class Clean(NamedTuple):
    """The first run of the whole chain in an empty home."""

    place: Place
    ran: Ran


class Revived(NamedTuple):
    """The same chain elsewhere: killed in the second trial, finished by the next run, served."""

    place: Place
    killed: Ran
    left: dict[str, str]
    finished: Ran
    #: Trials that the run which finished had to fit.
    fitted: list[str]
    deployer: Deployer

    @property
    def service(self) -> ServiceRecord:
        """The service that really runs."""
        found = self.deployer.current(self.place.product)
        assert found, "nothing serves"
        return found


@pytest.fixture(scope="session", autouse=True)
def _dagster_home() -> Iterator[None]:
    """A run points ``DAGSTER_HOME`` at its own home; afterwards it is as it was."""
    before = os.environ.get("DAGSTER_HOME")
    yield
    if before is None:
        os.environ.pop("DAGSTER_HOME", None)
    else:
        os.environ["DAGSTER_HOME"] = before


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    place = Place(tmp_path_factory.mktemp("clean") / "home")
    return Clean(place, place.refresh())


@pytest.fixture(scope="session")
def base(clean: Clean) -> Place:
    """A home whose champion is released. Not to be changed: copy it."""
    assert clean.ran.success, clean.ran.error
    return clean.place


@pytest.fixture
def place(base: Place, tmp_path: Path) -> Place:
    """The test's own copy of ``base``."""
    return base.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def judged(base: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A better challenger, evaluated beside the champion; the gate was not asked yet. Copy it."""
    place = base.copy(tmp_path_factory.mktemp("judged") / "home", with_trials(TREES))
    ran = place.run(place.stages("candidates", "evaluation"))
    assert ran.success, ran.error
    return place


@pytest.fixture(scope="session")
def revived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revived]:
    root = tmp_path_factory.mktemp("revived") / "home"
    deployer = deployer_of(root)
    place = Place(root, CHEAP, deployer, drawn=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact, "seal", _killed_at_the_second(artifact.seal))
        killed = place.refresh()
    left = place.plan()
    try:
        with recorded_fits(place.product) as fitted:
            finished = place.run(list(left))
        yield Revived(place, killed, left, finished, fitted, deployer)
    finally:
        deployer.stop(place.product)


@contextmanager
def recorded_fits(product: ModelProduct) -> Iterator[list[str]]:
    """Names of the trials that are fitted while it lasts."""
    fitted: list[str] = []
    kind = type(kind_of(product.contract))
    fit = kind.fit

    def recording(self, product, learner, trial, *rest):
        fitted.append(trial.name)
        return fit(self, product, learner, trial, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "fit", recording)
        yield fitted


@pytest.fixture
def drift_pages(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Evidently takes ten seconds a page: recorded here, written in test_monitoring_page."""
    made: list[Path] = []

    def write_drift(path: Path, current, reference, effects, **policy) -> None:
        columns = [effect.name for effect in effects]
        assert list(current) == list(reference) == columns
        path.write_text("<html>")
        made.append(path)

    monkeypatch.setattr(evidently_drift, "write_drift", write_drift)
    return made


@pytest.fixture
def traffic(base: Place, tmp_path: Path, drift_pages: list[Path]) -> Traffic:
    return Traffic(base.copy(tmp_path / "home", WATCHED))


class Sql(NamedTuple):
    """A dbt project of the test's own, used instead of the real one."""

    project: Path

    def edit(self, model: str, old: str, new: str) -> None:
        """Change a model's SQL; it will be parsed again."""
        path = next(self.project.glob(f"models/**/{model}.sql"))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def edit_parsed(self, model: str, old: str, new: str) -> None:
        """The same, with the manifest a parse would give: saves the seconds it takes."""
        self.edit(model, old, new)
        file = self.project / "target" / "manifest.json"
        manifest = json.loads(file.read_text())
        node = manifest["nodes"][f"model.assay.{model}"]
        node["raw_code"] = node["raw_code"].replace(old, new)
        file.write_text(json.dumps(manifest))


@pytest.fixture
def sql(base: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sql:
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_manifest.PROJECT, project, ignore=shutil.ignore_patterns("logs"))
    monkeypatch.setattr(dbt_manifest, "PROJECT", project)
    monkeypatch.setattr(dbt_manifest, "MANIFEST", project / "target" / "manifest.json")
    return Sql(project)


def _killed_at_the_second(seal):
    calls = []

    def sealing(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt("somebody pulled the plug")
        return seal(*args, **kwargs)

    return sealing
