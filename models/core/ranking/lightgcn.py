"""LightGCN: factors smoothed over the graph of users and items (needs torch to fit, not to answer).

Source: He et al., "LightGCN", SIGIR 2020: no weights but the first factors; a layer is the product
with the normalised adjacency matrix D^-1/2 A D^-1/2; the mean over all layers answers; BPR loss
with an L2 penalty on the first factors of a batch.

Two things make a step cheap here. The matrix is symmetric, so the gradient of a layer is the same
product again, on the same compressed rows. And a batch wants the last layer at its own nodes only,
so that one layer of each pass is a small product.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.neural import settings
from models.core.ranking.sampling import BLOCK, Held, Pairs, Validation, hold_out
from models.core.ranking.scorers import Numbers, Reads, Scores, read_scorer, write_scorer
from models.core.trainer.loop import train
from models.core.trainer.losses import bpr
from models.core.trainer.randomness import seeded

KIND = "lightgcn"


class LightGcnParams(Frozen):
    """Parameters of a LightGCN trial beside the trainer's.

    Attributes:
        factors: Of every node.
        layers: Steps that a taste travels along the graph.
        penalty: L2 penalty on the first factors of a batch, per sample.
        social: Weight of an edge between friends beside the 1 of an interaction; 0 leaves them out.
        validation_users: How many lose an item to early stopping.
        held: Which item: the newest where what comes next is asked for.
    """

    model: str = KIND
    liked_only: bool = False
    factors: int = Field(default=64, ge=1)
    layers: int = Field(default=3, ge=1, le=4)
    penalty: float = Field(default=1e-4, ge=0)
    social: float = Field(default=0.0, ge=0)
    validation_users: int = Field(default=2000, ge=1)
    held: Held = "newest"


class Product(torch.autograd.Function):
    """Sparse times dense where only the dense side learns; the backward matrix is given."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        """Matrix (r, n) times dense (n, f)."""
        ctx.transposed = transposed
        found: Tensor = matrix @ dense
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Transposed matrix times gradient."""
        return ctx.transposed @ gradients[0], None, None


def product(dense: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
    """Sparse matrix times dense, with a gradient for the dense side."""
    found: Tensor = Product.apply(dense, matrix, transposed)  # type: ignore[no-untyped-call]
    return found


def adjacency(matrix: sp.csr_array, friends: NDArray[np.int64], social: float) -> sp.csr_array:
    """The normalised graph D^-1/2 A D^-1/2.

    Args:
        matrix: Shape (u, m), ones where observed.
        friends: Shape (f, 2), user numbers of undirected edges.
        social: Their weight.

    Returns:
        Shape (u + m, u + m) of float32, symmetric; users come first. Nodes without an edge are 0.
    """
    users = matrix.shape[0]
    between = None
    if social > 0 and len(friends):
        one, other = friends[friends[:, 0] != friends[:, 1]].T
        between = sp.coo_array((np.ones(len(one)), (one, other)), shape=(users, users)).tocsr()
        between = ((between + between.T) > 0).astype(np.float32) * np.float32(social)
    blocks: Any = [[between, matrix], [matrix.T, None]]
    graph = sp.block_array(blocks, format="csr").astype(np.float32)
    degrees = np.asarray(graph.sum(axis=1), np.float64)
    scale = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    normal = sp.csr_array(sp.diags_array(scale) @ graph @ sp.diags_array(scale))
    normal.sort_indices()
    return normal.astype(np.float32)


class LightGcn(nn.Module):
    """First factors of all nodes, and the graph (which is no weight and not saved)."""

    def __init__(self, graph: sp.csr_array, params: LightGcnParams) -> None:
        super().__init__()
        self.graph, self.layers = graph, params.layers
        self.first = nn.Parameter(torch.randn(graph.shape[0], params.factors) * 0.1)
        self._whole: Tensor | None = None

    def whole(self) -> Tensor:
        """Final factors of all nodes, shape (u + m, f)."""
        return torch.stack(self._inner(self.layers)).mean(0)

    def at(self, nodes: Tensor) -> Tensor:
        """Final factors of some nodes, shape (len(nodes), f)."""
        layers = self._inner(self.layers - 1)
        rows = self.graph[nodes.cpu().numpy()]
        some = compressed(rows, self.first.device)
        back = compressed(sp.csr_array(rows.T), self.first.device)
        found = [layer[nodes] for layer in layers]
        return torch.stack([*found, product(layers[-1], some, back)]).sum(0) / (self.layers + 1)

    def _inner(self, count: int) -> list[Tensor]:
        """The first factors and ``count`` layers."""
        if self._whole is None or self._whole.device != self.first.device:
            self._whole = compressed(self.graph, self.first.device)
        layers: list[Tensor] = [self.first]
        for _ in range(count):
            layers.append(product(layers[-1], self._whole, self._whole))
        return layers


def compressed(matrix: sp.csr_array, device: torch.device) -> Tensor:
    """A CSR matrix for torch, with 32-bit indices: half the memory to read."""
    parts = (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data)
    with warnings.catch_warnings():  # "in beta state", at the first one of a process
        warnings.simplefilter("ignore", UserWarning)
        starts, columns, values = (torch.from_numpy(part) for part in parts)
        return torch.sparse_csr_tensor(starts, columns, values, size=matrix.shape, device=device)


@dataclass
class LightGcnTask:
    """For ``models.core.trainer``: a batch is users, each with an item they had and one not."""

    module: LightGcn
    pairs: Pairs
    validation: Validation
    batch_size: int
    penalty: float

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """As many samples as there are pairs, users drawn alike as in the paper's code.

        Yields:
            Shape (3, at most batch_size): user, item had, item not had, all as node numbers.
        """
        count, block = len(self.pairs.users), max(1, BLOCK // self.batch_size) * self.batch_size
        users_first = len(self.pairs.starts) - 1
        for start in range(0, count, block):
            users, had = self.pairs.by_user(min(block, count - start), generator)
            drawn = self.pairs.negatives(users, 1, generator)[:, 0]
            block_of = torch.stack([users, had + users_first, drawn + users_first])
            yield from torch.split(block_of, self.batch_size, dim=1)

    def batch_count(self) -> int:
        """Of one epoch."""
        return -(-len(self.pairs.users) // self.batch_size)

    def loss(self, batch: Tensor) -> Tensor:
        """BPR and the penalty, equation 15."""
        nodes, place = torch.unique(batch, return_inverse=True)
        users, had, drawn = self.module.at(nodes)[place]
        size = self.module.first[batch].square().sum() / batch.shape[1]
        return bpr((users * had).sum(1), (users * drawn).sum(1)) + self.penalty / 2 * size

    def validate(self) -> float:
        """Full-catalogue ndcg of the held-out items."""
        count = len(self.pairs.starts) - 1
        nodes = self.module.whole()
        return self.validation.ndcg(lambda some, _: nodes[:count][some] @ nodes[count:].T)


@dataclass(frozen=True)
class LightGcnScorer:
    """Fitted LightGCN: final factors. Knows only the users it was fitted on.

    Attributes:
        users: Shape (u, f).
        items: Shape (m, f).
    """

    users: Scores
    items: Scores
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("user",)

    def score(self, users: Numbers, _: Sequence[Numbers]) -> Scores:
        """Product of factors; see ``Scorer``."""
        return self.users[users] @ self.items.T

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {"users": self.users, "items": self.items})


def fit(trial: Trial, rows: Interactions, context: FitContext) -> LightGcnScorer:
    """Train; deterministic by the trial's seed.

    Raises:
        ValueError: Another precision than fp32, or nobody had three items.
    """
    params, config = settings(
        LightGcnParams, trial, batch_size=2048, learning_rate=1e-3, weight_decay=0.0, clip_norm=None
    )
    if config.precision != "fp32":
        raise ValueError(
            f"trial {trial.name!r}: a graph's sparse products have no {config.precision}; leave "
            "precision out, it is fp32"
        )
    matrix, _, held = hold_out(
        rows, params.liked_only, params.validation_users, trial.seed, params.held
    )
    graph = adjacency(matrix, rows.friends, params.social)
    with seeded(trial.seed):
        module = LightGcn(graph, params)
    task = LightGcnTask(module, Pairs.of(matrix), held, config.batch_size, params.penalty)
    train(task, config, context)
    with torch.no_grad():
        users, items = np.split(module.whole().cpu().numpy(), [matrix.shape[0]])
    return LightGcnScorer(users, items, params.liked_only)


def load(folder: Path) -> LightGcnScorer:
    """Load what ``save`` wrote."""
    own, saved = read_scorer(folder)
    return LightGcnScorer(saved["users"], saved["items"], **own)
