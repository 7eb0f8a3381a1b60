"""A training killed anywhere ends in the same weights as one that was not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.contracts.learner import FitContext
from models.core.trainer import checkpoint
from models.core.trainer.config import TrainerConfig
from models.core.trainer.history import History
from models.core.trainer.loop import train
from tests.unit.trainer_tasks import Killed, Regression, equal, one_thread

CONFIG = TrainerConfig(
    max_epochs=5, learning_rate=0.02, patience=3, plateau_patience=0, checkpoint_steps=3, seed=7
)


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def told(history: History) -> History:
    return history._replace(seconds=0.0, resumed_from=None)


@pytest.fixture(scope="module")
def whole() -> tuple[Regression, History]:
    task = Regression()
    return task, train(task, CONFIG)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
@pytest.mark.parametrize("call", [0, 3, 9, 10, 38, 49])
def test_resume_after_a_kill_in_any_step(schedule: str, call: int, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"schedule": schedule, "warmup": 0.2})
    whole, drawn, again = Regression(), [], []
    history = train(whole, config, FitContext(curve=lambda *point: drawn.append(point)))
    context = FitContext(folder=tmp_path)
    with pytest.raises(Killed):
        train(Regression(kill_at=call), config, context)
    second = Regression()
    context = context._replace(curve=lambda *point: again.append(point))
    resumed = train(second, config, context)
    assert sorted(again) == sorted(drawn)
    assert equal(whole.weights(), second.weights())
    assert told(resumed) == told(history)
    done_in_epochs = call // 10 * 10 + call % 10 // 3 * 3  # every 3 steps, and after each 10
    assert (resumed.resumed_from or 0) == done_in_epochs
    assert second.calls == 50 - done_in_epochs


@pytest.mark.parametrize("accident", [1, 2, 3, 4, 5, 10, 19])
def test_resume_after_a_kill_between_and_before_renames(
    accident: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: tuple[Regression, History],
) -> None:
    """Kills before the n-th rename and, the next time, right after the n-th."""
    rename, done = os.replace, 0

    def killing(after: bool):
        def replace(source: Path, target: Path) -> None:
            nonlocal done
            done += 1
            if done == accident and not after:
                raise Killed
            rename(source, target)
            if done == accident:
                raise Killed

        return replace

    for after in (False, True):
        folder, done = tmp_path / str(after), 0
        monkeypatch.setattr(checkpoint.os, "replace", killing(after))
        with pytest.raises(Killed):
            train(Regression(), CONFIG, FitContext(folder=folder))
        monkeypatch.setattr(checkpoint.os, "replace", rename)
        task = Regression()
        assert told(train(task, CONFIG, FitContext(folder=folder))) == told(whole[1])
        assert equal(task.weights(), whole[0].weights())
        names = {path.name for path in folder.iterdir()}
        assert names == {checkpoint.STATE, checkpoint.best_name(whole[1].best_epoch)}


def test_a_finished_training_answers_at_once(
    tmp_path: Path, whole: tuple[Regression, History]
) -> None:
    train(Regression(), CONFIG, FitContext(folder=tmp_path))
    again = Regression(kill_at=0)
    assert told(train(again, CONFIG, FitContext(folder=tmp_path))) == told(whole[1])
    assert equal(again.weights(), whole[0].weights())


def test_another_training_s_checkpoint_is_set_aside(tmp_path: Path) -> None:
    lines: list[str] = []
    context = FitContext(folder=tmp_path, say=lines.append)
    train(Regression(), CONFIG, context)
    other = CONFIG.model_copy(update={"learning_rate": 0.01})
    alone, here = Regression(), Regression()
    assert told(train(here, other, context)) == told(train(alone, other))
    assert equal(alone.weights(), here.weights())
    assert any("config: learning_rate was 0.02, is 0.01" in line for line in lines)
    assert (tmp_path / checkpoint.REFUSED).exists()


@pytest.mark.parametrize("name", ["state", "best-"])
def test_a_torn_file_is_said_and_training_starts_anew(
    name: str, tmp_path: Path, whole: tuple[Regression, History]
) -> None:
    lines: list[str] = []
    context = FitContext(folder=tmp_path, say=lines.append)
    train(Regression(), CONFIG, context)
    (path,) = tmp_path.glob(f"{name}*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    task = Regression()
    assert train(task, CONFIG, context).resumed_from is None
    assert equal(task.weights(), whole[0].weights())
    assert any("is not a whole checkpoint" in line for line in lines)


def test_the_outside_draws_on_as_if_nothing_was_trained() -> None:
    import random

    import numpy as np
    import torch

    drawn = []
    for trained in (False, True):
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        if trained:
            train(Regression(), CONFIG)
        drawn.append((random.random(), np.random.random(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_a_killed_process_is_gone_on_from(
    tmp_path: Path, whole: tuple[Regression, History]
) -> None:
    """A real SIGKILL, whatever the process is doing then."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.unit.test_trainer_resume import *\n"
        "class Slow(Regression):\n"
        "    def validate(self): print('validated', flush=True); return super().validate()\n"
        "    def loss(self, batch): time.sleep(0.01); return super().loss(batch)\n"
        "train(Slow(), CONFIG, FitContext(folder=Path(sys.argv[1])))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "validated\n"
    time.sleep(0.06)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    task = Regression()
    history = train(task, CONFIG, FitContext(folder=tmp_path))
    assert history.resumed_from is not None
    assert 0 < history.resumed_from < 50
    assert told(history) == told(whole[1])
    assert equal(task.weights(), whole[0].weights())
