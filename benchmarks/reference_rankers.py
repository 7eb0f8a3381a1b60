"""NeuMF and LightGCN trained by loops written as those of the published repositories are.

What ``ranking_epochs`` compares our trainer with; see there for what was kept and what was not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.core.ranking.lightgcn import adjacency


class Side(NamedTuple):
    """One way to train.

    Attributes:
        draw: Draws all samples of an epoch.
        run: Does so many steps with fresh samples, at most an epoch.
        steps: Steps of an epoch.
    """

    draw: Callable[[], object]
    run: Callable[[int], object]
    steps: int


# --- NeuMF as in the reference loops


class Samples(Dataset):  # type: ignore[type-arg]
    """Samples one by one: every positive and ``negatives`` items drawn until one was not had."""

    def __init__(self, matrix: sp.csr_array, negatives: int) -> None:
        users, items = matrix.nonzero()
        self.positives = list(zip(users.tolist(), items.tolist(), strict=True))
        self.had, self.size, self.negatives = set(self.positives), matrix.shape[1], negatives
        self.samples: list[tuple[int, int]] = []
        self.labels: list[int] = []

    def draw(self) -> None:
        """Once per epoch."""
        drawn = []
        for user, _ in self.positives:
            for _ in range(self.negatives):
                item = np.random.randint(self.size)
                while (user, item) in self.had:
                    item = np.random.randint(self.size)
                drawn.append((user, item))
        self.samples = self.positives + drawn
        self.labels = [1] * len(self.positives) + [0] * len(drawn)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[int, int, int]:
        user, item = self.samples[number]
        return user, item, self.labels[number]


class PlainNeumf(nn.Module):
    """Both parts read every sample's user and item; a linear layer joins them."""

    def __init__(self, shape: tuple[int, int], factors: int, layers: int) -> None:
        super().__init__()
        width = factors << (layers - 1)
        self.tables = nn.ModuleList(
            nn.Embedding(count, size) for size in (factors, width) for count in shape
        )
        widths = [2 * width] + [width >> depth for depth in range(layers)]
        tower = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
        self.tower = nn.Sequential(*tower)
        self.out = nn.Linear(2 * factors, 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits, one per sample."""
        gmf_user, gmf_item, mlp_user, mlp_item = self.tables
        product = gmf_user(users) * gmf_item(items)
        read = self.tower(torch.cat((mlp_user(users), mlp_item(items)), -1))
        return self.out(torch.cat((product, read), -1)).view(-1)


def plain_neumf(matrix: sp.csr_array, options: argparse.Namespace, batch: int) -> Side:
    """Batches of samples through a DataLoader, Adam."""
    samples, module = Samples(matrix, 4), PlainNeumf(matrix.shape, options.factors, 3)
    adam, loss = torch.optim.Adam(module.parameters(), lr=1e-3), nn.BCEWithLogitsLoss()

    def run(steps: int) -> None:
        if not samples.samples:
            samples.draw()
        loader = DataLoader(samples, batch, shuffle=True, num_workers=options.workers)
        for users, items, labels in islice(loader, steps):
            module.zero_grad()
            loss(module(users, items), labels.float()).backward()
            adam.step()

    return Side(samples.draw, run, -(-5 * matrix.nnz // batch))


# --- LightGCN as in the reference loop


class Triples:
    """User, item had, item not had: a user at random, one of theirs, then others until one fits."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self.users, self.items = matrix.shape
        self.count = matrix.nnz
        parts = np.split(matrix.indices, matrix.indptr[1:-1])
        self.had, self.sets = parts, [set(part.tolist()) for part in parts]
        self.drawn = torch.empty((0, 3), dtype=torch.int64)

    def draw(self) -> None:
        """Once per epoch."""
        triples = []
        for user in np.random.randint(0, self.users, self.count):
            had = self.had[user]
            if len(had) == 0:
                continue
            positive = had[np.random.randint(0, len(had))]
            while (negative := np.random.randint(0, self.items)) in self.sets[user]:
                pass
            triples.append([user, positive, negative])
        shuffled = np.random.permutation(np.array(triples, np.int64))
        self.drawn = torch.from_numpy(shuffled)


def plain_lightgcn(matrix: sp.csr_array, options: argparse.Namespace, batch: int) -> Side:
    """Whole graph by a COO product in every layer, Adam."""
    triples, graph = Triples(matrix), adjacency(matrix, np.empty((0, 2), np.int64), 0.0).tocoo()
    places = torch.from_numpy(np.stack([graph.row, graph.col]).astype(np.int64))
    sparse = torch.sparse_coo_tensor(places, torch.from_numpy(graph.data), graph.shape).coalesce()
    users, items = nn.Embedding(matrix.shape[0], 64), nn.Embedding(matrix.shape[1], 64)
    for table in (users, items):
        nn.init.normal_(table.weight, std=0.1)
    adam = torch.optim.Adam([users.weight, items.weight], lr=1e-3)

    def step(user: Tensor, had: Tensor, drawn: Tensor) -> None:
        found = [torch.cat([users.weight, items.weight])]
        for _ in range(options.layers):
            found.append(torch.sparse.mm(sparse, found[-1]))
        of_user, of_item = torch.stack(found, dim=1).mean(1).split(list(matrix.shape))
        score, other = of_user[user] * of_item[had], of_user[user] * of_item[drawn]
        first = (users(user), items(had), items(drawn))
        penalty = sum(part.norm(2).pow(2) for part in first) / 2 / len(user)
        loss = nn.functional.softplus(other.sum(1) - score.sum(1)).mean() + 1e-4 * penalty
        adam.zero_grad()
        loss.backward()
        adam.step()

    def run(steps: int) -> None:
        if not len(triples.drawn):
            triples.draw()
        for part in islice(triples.drawn.split(batch), steps):
            step(*part.T)

    return Side(triples.draw, run, -(-matrix.nnz // batch))
