"""Two processes over gloo train what one process trains on the same batches."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.contracts.learner import FitContext
from models.core.trainer import checkpoint
from models.core.trainer.config import TrainerConfig
from models.core.trainer.loop import train
from tests.unit.trainer_tasks import Regression, one_thread

#: 5 batches by 2 processes: in the last step the second one has none.
CONFIG = TrainerConfig(max_epochs=3, learning_rate=0.02, batch_size=8, precision="fp32")
SECOND = """
import sys, torch
from pathlib import Path
from tests.unit.test_trainer_distributed import *
torch.set_num_threads(1)
train(Regression(batch=8, dropout=0.0), CONFIG, FitContext(folder=Path(sys.argv[1])))
"""


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def torchrun_variables(rank: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip


def test_two_processes_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Regression(batch=8, dropout=0.0)
    expected = train(alone, CONFIG.model_copy(update={"accumulate": 2}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    second = subprocess.Popen(
        [sys.executable, "-c", SECOND, str(tmp_path)],
        env={**os.environ, **torchrun_variables(1, port)},
    )
    try:
        for name, value in torchrun_variables(0, port).items():
            monkeypatch.setenv(name, value)
        first = Regression(batch=8, dropout=0.0)
        history = train(first, CONFIG, FitContext(folder=tmp_path))
        assert second.wait(timeout=60) == 0
    finally:
        second.kill()
    assert first.calls == 3 * 3  # 5 batches are 3 for the first process
    assert history.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
    assert history.validation == pytest.approx(expected.validation, rel=1e-4)
    kept = load_file(tmp_path / checkpoint.best_name(history.best_epoch))
    for name, tensor in alone.weights().items():
        torch.testing.assert_close(first.weights()[name], tensor, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(kept[name], first.weights()[name], rtol=0, atol=0)
