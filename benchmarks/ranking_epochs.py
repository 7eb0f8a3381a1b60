"""How long an epoch of NeuMF and LightGCN takes, beside loops written as the reference ones are.

Both sides have the same model, data, batch and number of negatives, in one process on the same
threads; rounds alternate. The reference loops follow the published repositories: NeuMF draws its
negatives one by one in Python into a Dataset that a DataLoader reads sample by sample; LightGCN
draws each triple in a Python loop and multiplies by an uncompressed (COO) sparse matrix, whole
graph, every layer. Membership is looked up in a set, faster than the dictionary-of-keys matrix or
array that the originals use, and the DataLoader has no helper processes (``--workers`` gives some).

An epoch is: drawing all samples of an epoch, measured in full, plus the mean of ``--steps`` steps
times the number of steps. ``--steps 0`` runs whole epochs instead. Ours is timed through the real
trainer, without validation.

    ASSAY_MIRROR=... .venv/bin/python -m benchmarks.ranking_epochs
    .venv/bin/python -m benchmarks.ranking_epochs --synthetic --models neumf --steps 100
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from benchmarks.reference_rankers import Side, plain_lightgcn, plain_neumf
from models.core.ranking.lightgcn import LightGcn, LightGcnParams, LightGcnTask, adjacency
from models.core.ranking.neumf import Neumf, NeumfParams, NeumfTask
from models.core.ranking.sampling import Pairs, Validation
from models.core.trainer.config import TrainerConfig
from models.core.trainer.loop import Task, train

NOBODY = Validation(np.zeros(1, np.int64), np.zeros(1, np.int64), (np.zeros(1, np.int64),))


# --- ours


@dataclass
class Part:
    """The first steps of an epoch of a task, without validation."""

    task: Task
    steps: int

    @property
    def module(self) -> nn.Module:
        """The task's."""
        return self.task.module

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """As the task makes them."""
        return islice(iter(self.task.batches(generator)), self.steps)

    def batch_count(self) -> int:
        """At most the task's."""
        return min(self.steps, self.task.batch_count())

    def loss(self, batch: Any) -> Tensor:
        """The task's."""
        return self.task.loss(batch)

    def validate(self) -> float:
        """Nothing is measured."""
        return 0.0


def ours(task: Task, batch: int) -> Side:
    """The shared trainer on a task of ``models.core.ranking``."""
    config = TrainerConfig(
        precision="fp32",
        max_epochs=1,
        batch_size=batch,
        learning_rate=1e-3,
        weight_decay=0.0,
        clip_norm=None,
    )

    def draw() -> None:
        for _ in task.batches(torch.Generator().manual_seed(0)):
            pass

    return Side(draw, lambda steps: train(Part(task, steps), config), task.batch_count())


def our_neumf(matrix: sp.csr_array, options: argparse.Namespace, batch: int) -> Side:
    params = NeumfParams(factors=options.factors, layers=3, negatives=4)
    module = Neumf(matrix.shape, params)
    return ours(NeumfTask(module, Pairs.of(matrix), NOBODY, 4, max(1, batch // 5)), batch)


def our_lightgcn(matrix: sp.csr_array, options: argparse.Namespace, batch: int) -> Side:
    params = LightGcnParams(factors=64, layers=options.layers)
    module = LightGcn(adjacency(matrix, np.empty((0, 2), np.int64), 0.0), params)
    return ours(LightGcnTask(module, Pairs.of(matrix), NOBODY, batch, 1e-4), batch)


# --- data, timing, table

SIDES = {
    "neumf": (plain_neumf, our_neumf, "movielens_1m_ncf", 256, 1280),
    "lightgcn": (plain_lightgcn, our_lightgcn, "gowalla_lightgcn", 2048, 8192),
}


def mirrored(name: str) -> sp.csr_array:
    import pandas as pd

    folder = os.environ.get("ASSAY_MIRROR")
    if folder is None:
        raise SystemExit("set ASSAY_MIRROR to the folder of the data mirror, or use --synthetic")
    frame = pd.read_parquet(Path(folder) / name / "interactions.parquet")
    rows = frame[frame["split"] == "train"]
    return binary(rows["user"].to_numpy(np.int64), rows["item"].to_numpy(np.int64))


def synthetic(users: int, items: int, count: int) -> sp.csr_array:
    """Users alike, items by Zipf's law."""
    draw = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, items + 1)
    chosen = draw.choice(items, count, p=shares / shares.sum())
    return binary(draw.integers(users, size=count), chosen)


def binary(users: np.ndarray, items: np.ndarray) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(users), np.float32), (users, items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def epoch(side: Side, steps: int) -> tuple[float, float]:
    """Seconds of drawing and of all steps; the mean of a few, or all of them."""
    drawing = seconds(side.draw)
    if not steps:
        return drawing, seconds(lambda: side.run(side.steps))
    few = min(steps, side.steps * 3 // 4)
    start = min(max(1, few // 4), side.steps - few)
    # the difference of two lengths leaves out what is done once: drawing the first samples
    short, long = (seconds(lambda n=n: side.run(n)) for n in (start, start + few))
    return drawing, max(long - short, 0.0) / few * side.steps


def compare(model: str, options: argparse.Namespace) -> None:
    plain, own, name, batch, large = SIDES[model]
    matrix = synthetic(*options.size) if options.synthetic else mirrored(name)
    data = "synthetic data" if options.synthetic else name
    print(f"\n{model} on {data}: {matrix.shape[0]} users, {matrix.shape[1]} items, "
          f"{matrix.nnz} pairs; seconds per epoch, {options.threads} threads")  # fmt: skip
    sides = {
        f"reference loop, batch {batch}": plain(matrix, options, batch),
        f"ours, batch {batch}": own(matrix, options, batch),
        f"ours, batch {large}": own(matrix, options, large),
    }
    for side in sides.values():
        side.run(2)  # imports, first allocations
    rounds = [
        [epoch(side, options.steps) for side in sides.values()] for _ in range(options.rounds)
    ]
    print(f"{'':<28} {'draw':>8} {'steps':>8} {'epoch':>8} {'ratio':>7}")
    first = 0.0
    for place, name in enumerate(sides):
        drawing, stepping = (
            statistics.median(round_[place][part] for round_ in rounds) for part in (0, 1)
        )
        first = first or drawing + stepping
        print(f"{name:<28} {drawing:>8.2f} {stepping:>8.1f} {drawing + stepping:>8.1f} "
              f"{first / (drawing + stepping):>7.2f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--steps", type=int, default=40, help="timed steps; 0 is the whole epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--factors", type=int, default=32, help="of NeuMF")
    parser.add_argument("--layers", type=int, default=3, help="of LightGCN")
    parser.add_argument("--workers", type=int, default=0, help="of the reference DataLoader")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--size", nargs=3, type=int, default=(2000, 1500, 60_000),
                        metavar=("USERS", "ITEMS", "PAIRS"), help="of synthetic data")  # fmt: skip
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    np.random.seed(0)
    torch.manual_seed(0)
    for model in options.models:
        compare(model, options)


if __name__ == "__main__":
    main()
