"""TensorBoard's files: what a fit of the chain tells while it lasts, where somebody asked."""

import sys

import pytest

from assets.stages import candidates
from models.core import linear
from orchestration.settings import Settings
from stores.home import Home
from stores.tensorboard import TensorBoardCurves, TensorBoardError
from tests.unit import snapshot_home


def points(folder):
    """Every point of the one file in a folder: name, step, value."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = folder.iterdir()
    events = EventFileLoader(str(file)).Load()
    return [(v.tag, e.step, v.tensor.float_val[0]) for e in events for v in e.summary.value]


class Telling:
    """A learner that shows two epochs of its fit."""

    def fit(self, trial, rows, context, /):
        for epoch, loss in enumerate((0.75, 0.5), start=1):
            context.curve("train_loss", epoch, loss)
        return linear.fit(trial, rows)


def test_points_are_in_the_file_after_closing(tmp_path):
    pytest.importorskip("tensorboard")
    with TensorBoardCurves(tmp_path / "new") as curve:
        curve("validation", 3, 0.25)
    assert points(tmp_path / "new") == [("validation", 3, 0.25)]
    with TensorBoardCurves(tmp_path / "silent"):
        pass
    assert not (tmp_path / "silent").exists()


def test_the_chain_shows_its_fits_in_the_folder_that_the_setting_names(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("ASSAY_TENSORBOARD", str(tmp_path / "curves"))
    monkeypatch.setattr(candidates, "load_learner", lambda _: Telling())
    product = snapshot_home.ROWS.model_copy(update={"trials": snapshot_home.ROWS.trials[:1]})
    home = snapshot_home.write(Home(tmp_path / "home"), product)
    tracking = Settings(home=home.root).tracking()
    monkeypatch.setattr(tracking, "candidate_run", lambda *_: "run")
    found = candidates.fit_all(product, home, tracking, lambda _: None)
    (folder,) = (tmp_path / "curves" / product.slug).iterdir()
    assert folder.name.startswith("all-")
    assert points(folder) == [("train_loss", 1, 0.75), ("train_loss", 2, 0.5)]
    kept = candidates.load_candidate(product, home, found.candidates[0])
    assert kept.curves == {"train_loss": (0.75, 0.5)}, "MLflow has the same"


def test_without_the_setting_nothing_is_written_and_nothing_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.chdir(tmp_path)
    with Settings(home=tmp_path).tracking().live(snapshot_home.ROWS, "all-1") as shown:
        shown("train_loss", 1, 0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_the_fit(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    asked = Settings(home=tmp_path, tensorboard=tmp_path / "curves").tracking()
    with pytest.raises(TensorBoardError, match=r"pip install -e '\.\[tensorboard\]'"):
        asked.live(snapshot_home.ROWS, "all-1")
