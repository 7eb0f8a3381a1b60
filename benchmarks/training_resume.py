"""Kills a real training process at random moments and looks whether the result is the same.

One training runs undisturbed. Then the same training is killed with SIGKILL in a random step, or a
few milliseconds later in whatever it does then, and started again, over and over, until one process
gets to the end. The final weights of both must be equal bit for bit; so must every loss and
validation value on the way.

    .venv/bin/python benchmarks/training_resume.py --kills 20
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Seconds a process may take to end after its last word.
LIMIT = 600.0


class Classifier:
    """Two layers with dropout on planted classes; shuffling and noise come from the generator."""

    def __init__(self, rows: int) -> None:
        import torch
        from torch import nn

        from models.core.trainer.randomness import seeded

        with seeded(1):
            self.module: Any = nn.Sequential(
                nn.Linear(32, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 4)
            )
            self.labels = torch.randint(0, 4, (rows,))
            self.inputs = torch.randn(4, 32)[self.labels] + 2.0 * torch.randn(rows, 32)
        self.train = rows * 4 // 5

    def batches(self, generator: Any) -> Iterator[Any]:
        """Shuffled rows with fresh noise."""
        import torch

        for rows in torch.randperm(self.train, generator=generator).split(32):
            noise = 0.1 * torch.randn(len(rows), 32, generator=generator)
            yield self.inputs[rows] + noise, self.labels[rows]

    def batch_count(self) -> int:
        """Of one epoch."""
        return -(-self.train // 32)

    def loss(self, batch: Any) -> Any:
        """Cross-entropy; the parent is told that a step begins."""
        from torch.nn import functional

        print(flush=True)
        inputs, labels = batch
        return functional.cross_entropy(self.module(inputs), labels)

    def validate(self) -> float:
        """Accuracy."""
        guesses = self.module(self.inputs[self.train :]).argmax(1)
        return float((guesses == self.labels[self.train :]).float().mean())


def child(folder: Path, options: argparse.Namespace) -> None:
    """One process's training; prints an empty line in each step and its history at the end."""
    import torch

    from models.contracts.learner import FitContext
    from models.core.trainer.config import TrainerConfig
    from models.core.trainer.loop import train

    torch.set_num_threads(1)
    config = TrainerConfig(
        max_epochs=options.epochs, patience=options.epochs, learning_rate=1e-3,
        checkpoint_steps=options.checkpoint_steps, seed=options.seed,
    )  # fmt: skip
    task = Classifier(options.rows)
    history = train(task, config, FitContext(folder=folder))
    digest = hashlib.sha256()
    for name, tensor in sorted(task.module.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    told = {**history._asdict(), "weights": digest.hexdigest()}
    print(json.dumps(told), flush=True)


def start(folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """A training process on ``folder``."""
    names = ("epochs", "rows", "checkpoint_steps", "seed")
    told = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    return subprocess.Popen(
        [sys.executable, __file__, "--child", str(folder), *told],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def life(folder: Path, options: argparse.Namespace, steps: int | None) -> dict[str, Any] | None:
    """What a process told at its end; None when it was killed after ``steps`` of its own steps."""
    process = start(folder, options)
    assert process.stdout is not None
    for done, line in enumerate(process.stdout, start=1):
        if line.strip():
            process.wait(LIMIT)
            return dict(json.loads(line))
        if done == steps:
            time.sleep(random.uniform(0.0, 0.02))
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the training ended by itself with {process.returncode}")
    return None


def killed(options: argparse.Namespace, steps: int, number: int) -> dict[str, Any]:
    """One training killed at random moments until it is done; how often, and what it told."""
    draw = random.Random(options.seed * 1000 + number)
    folder, kills = Path(tempfile.mkdtemp()), 0
    try:
        while (told := life(folder, options, draw.randint(1, steps // 2))) is None:
            kills += 1
        return {**told, "kills": kills}
    finally:
        shutil.rmtree(folder)


def main() -> None:
    options = arguments()
    if options.child:
        child(options.child, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = life(Path(folder), options, None)
    assert whole is not None
    print(f"undisturbed: {whole['epochs']} epochs, {whole['seconds']:.1f} s, "
          f"accuracy {whole['best_value']:.4f}, weights {whole['weights'][:12]}")  # fmt: skip
    print(f"{'training':>8} {'kills':>6} {'last resumed at step':>21} {'weights':>13} {'equal':>6}")
    kills, number, wrong = 0, 0, 0
    steps = -(-(options.rows * 4 // 5) // 32) * whole["epochs"]
    while kills < options.kills:
        told = killed(options, steps, number)
        names = ("weights", "train_loss", "validation", "learning_rates", "best_epoch")
        equal = all(told[name] == whole[name] for name in names)
        kills, number, wrong = kills + told["kills"], number + 1, wrong + (not equal)
        print(f"{number:>8} {told['kills']:>6} {told['resumed_from'] or 0:>21} "
              f"{told['weights'][:12]:>13} {'yes' if equal else 'NO':>6}", flush=True)  # fmt: skip
    print(f"{number} trainings, {kills} kills, {wrong} with another result")
    raise SystemExit(wrong > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="at least so many in all")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--checkpoint-steps", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
