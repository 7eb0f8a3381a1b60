"""NeuMF: a product of factors and a network over factors, learned together (needs torch).

Source: He et al., "Neural Collaborative Filtering", WWW 2017: GMF weighs the elementwise product of
a user's and an item's factors, an MLP reads both, the sum of the two is the logit; binary
cross-entropy with sampled negatives. As in the paper the parts can be trained alone first.

A warning from the same field: a tuned plain product (iALS) is often better (Rendle et al. 2020).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.described import Items, Words, words_of
from models.core.ranking.neural import arrays, restored, settings, within
from models.core.ranking.sampling import Held, Pairs, Validation, hold_out
from models.core.ranking.scorers import Numbers, Reads, Scores, read_scorer, write_scorer
from models.core.trainer.loop import train
from models.core.trainer.randomness import seeded

KIND = "neumf"
#: Numbers in a hidden layer at once while a catalogue is scored: 64 MiB of float32.
_AT_ONCE = 1 << 24


class NeumfParams(Frozen):
    """Parameters of a NeuMF trial beside the trainer's.

    Attributes:
        factors: Of the product, and of the last hidden layer.
        layers: Hidden layers of the MLP, each half as wide as the one before.
        negatives: Drawn for each positive, anew in every epoch.
        pretrain: Whether the parts are trained alone first.
        validation_users: How many lose an item to early stopping.
        held: Which item: the newest where what comes next is asked for.
        fields: Of the catalogue, whose words add to the factors of items (see ``described``).
    """

    model: str = KIND
    liked_only: bool = False
    factors: int = 16
    layers: int = 3
    negatives: int = 4
    pretrain: bool = False
    validation_users: int = 2000
    held: Held = "newest"
    fields: tuple[str, ...] = ()


class Gmf(nn.Module):
    """Generalised matrix factorisation, equation 9."""

    def __init__(self, users: int, items: int, factors: int, words: Words | None) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, factors), Items(items, factors, words)
        self.out = nn.Linear(factors, 1, bias=False)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of shape (b, c) for users (b,) and items (b, c)."""
        weighed = self.users(users) * self.out.weight
        logits: Tensor = (self.items(items) @ weighed[:, :, None])[:, :, 0]
        return logits

    def catalogue(self, users: Tensor) -> Tensor:
        """Logits of every item, shape (b, m)."""
        weighed: Tensor = self.users(users) * self.out.weight
        return weighed @ self.items.table().T


class Mlp(nn.Module):
    """The tower, equation 10; its first layer is applied to a user once, not once per item."""

    def __init__(
        self, users: int, items: int, factors: int, layers: int, words: Words | None
    ) -> None:
        super().__init__()
        widths = [factors << depth for depth in reversed(range(layers))]
        self.users, self.items = nn.Embedding(users, widths[0]), Items(items, widths[0], words)
        self.of_user = nn.Linear(widths[0], widths[0])
        self.of_item = nn.Linear(widths[0], widths[0], bias=False)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.out = nn.Linear(factors, 1, bias=False)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of shape (b, c) for users (b,) and items (b, c)."""
        return self._rest(self.of_user(self.users(users)), self.of_item(self.items(items)))

    def catalogue(self, users: Tensor) -> Tensor:
        """Logits of every item, shape (b, m)."""
        items = self.of_item(self.items.table())
        width = max(1, _AT_ONCE // items.numel())
        parts = torch.split(users, width)
        return torch.cat([self._rest(self.of_user(self.users(some)), items) for some in parts])

    def _rest(self, users: Tensor, items: Tensor) -> Tensor:
        hidden = functional.relu(users[:, None, :] + items)
        for layer in self.layers:
            hidden = functional.relu(layer(hidden))
        logits: Tensor = self.out(hidden)[:, :, 0]
        return logits


class Neumf(nn.Module):
    """One part or both; the logit is their sum, equation 12."""

    def __init__(
        self,
        shape: tuple[int, int],
        params: NeumfParams,
        parts: Sequence[str] = ("gmf", "mlp"),
        words: Words | None = None,
    ) -> None:
        super().__init__()
        size, layers = params.factors, params.layers
        self.gmf = Gmf(*shape, size, words) if "gmf" in parts else None
        self.mlp = Mlp(*shape, size, layers, words) if "mlp" in parts else None
        self.bias = nn.Parameter(torch.zeros(()))
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                nn.init.normal_(module.weight, std=0.01)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    @property
    def parts(self) -> list[Gmf | Mlp]:
        """The parts that are there."""
        return [part for part in (self.gmf, self.mlp) if part is not None]

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of shape (b, c) for users (b,) and items (b, c)."""
        return self.bias + torch.stack([part(users, items) for part in self.parts]).sum(0)

    def catalogue(self, users: Tensor) -> Tensor:
        """Logits of every item, shape (b, m)."""
        return self.bias + torch.stack([part.catalogue(users) for part in self.parts]).sum(0)

    def take(self, alone: Neumf) -> None:
        """Start from a part that was trained alone: half its say, as in the paper (alpha = 0.5)."""
        with torch.no_grad():
            for own, part in ((self.gmf, alone.gmf), (self.mlp, alone.mlp)):
                if own is not None and part is not None:
                    own.load_state_dict(part.state_dict())
                    own.out.weight.mul_(0.5)
            self.bias.add_(alone.bias, alpha=0.5)


@dataclass
class NeumfTask:
    """For ``models.core.trainer``: a batch is some positives, each beside its negatives."""

    module: Neumf
    pairs: Pairs
    validation: Validation
    negatives: int
    positives: int

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Every pair once beside its negatives; see ``Pairs.shuffled``."""
        return self.pairs.shuffled(self.negatives, self.positives, generator)

    def batch_count(self) -> int:
        """Of one epoch."""
        return -(-len(self.pairs.users) // self.positives)

    def loss(self, batch: Any) -> Tensor:
        """Binary cross-entropy over positives and negatives."""
        users, items = batch
        logits = self.module(users, items)
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1.0
        return functional.binary_cross_entropy_with_logits(logits, labels)

    def validate(self) -> float:
        """Full-catalogue ndcg of the held-out items."""
        device = self.module.bias.device
        return self.validation.ndcg(
            lambda users, _: self.module.catalogue(torch.from_numpy(users).to(device))
        )


@dataclass(frozen=True)
class NeumfScorer:
    """A fitted NeuMF; knows only the users it was fitted on."""

    module: Neumf
    params: NeumfParams
    shape: tuple[int, int]
    kind: str = KIND
    reads: Reads = ("user",)

    @property
    def liked_only(self) -> bool:
        """See ``Scorer``."""
        return self.params.liked_only

    def score(self, users: Numbers, _: Sequence[Numbers]) -> Scores:
        """Logits; see ``Scorer``."""
        with torch.no_grad():
            found: Scores = self.module.catalogue(torch.from_numpy(users)).numpy()
        return found

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        own = self.params.model_dump(exclude={"model", "liked_only"})
        write_scorer(folder, self, arrays(self.module), shape=self.shape, **own)


def fit(trial: Trial, rows: Interactions, context: FitContext) -> NeumfScorer:
    """Train; deterministic by the trial's seed. A batch holds positives and their negatives."""
    params, config = settings(
        NeumfParams, trial, batch_size=1280, learning_rate=1e-3, weight_decay=0.0, clip_norm=None
    )
    matrix, _, held = hold_out(
        rows, params.liked_only, params.validation_users, trial.seed, params.held
    )
    pairs, positives = Pairs.of(matrix), max(1, config.batch_size // (1 + params.negatives))
    users = matrix.sum(axis=0)
    words = words_of(rows.catalogue, params.fields, users) if params.fields else None
    with seeded(trial.seed):
        module = Neumf(matrix.shape, params, words=words)
        for part in ("gmf", "mlp") if params.pretrain else ():
            alone = Neumf(matrix.shape, params, (part,), words)
            task = NeumfTask(alone, pairs, held, params.negatives, positives)
            train(task, config, within(context, part))
            module.take(alone.cpu())
    task = NeumfTask(module, pairs, held, params.negatives, positives)
    train(task, config, within(context, KIND))
    return NeumfScorer(module.cpu(), params, matrix.shape)


def load(folder: Path) -> NeumfScorer:
    """Load what ``save`` wrote."""
    own, saved = read_scorer(folder)
    users, items = own.pop("shape")
    params = NeumfParams.model_validate(own)
    written = (torch.from_numpy(saved[f"gmf.items.{name}"]) for name in Words._fields)
    module = Neumf((users, items), params, words=Words(*written) if params.fields else None)
    return NeumfScorer(restored(module, saved), params, (users, items))
