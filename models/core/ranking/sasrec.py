"""SASRec: a transformer reads what a user did in order and says what comes next (needs torch).

Sources: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; with one negative
its cross-entropy overrates, so the loss is a sampled softmax over many negatives (Klenitskiy &
Vasilev 2023 found the same model as good as BERT4Rec with it) or gBCE (Petrov & Macdonald 2023).

A user is nothing but a history: anybody who has one gets an answer, also who came after the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.neural import arrays, restored, settings
from models.core.ranking.sampling import Validation, histories_of, hold_out
from models.core.ranking.scorers import Numbers, Reads, Scores, read_scorer, write_scorer
from models.core.trainer.loop import train
from models.core.trainer.losses import gbce, sampled_softmax
from models.core.trainer.randomness import seeded

KIND = "sasrec"


class SasrecParams(Frozen):
    """Parameters of a SASRec trial beside the trainer's.

    Attributes:
        width: Of the item vectors and of every layer.
        layers: Transformer blocks.
        longest: Items read of a history, the newest.
        negatives: Drawn uniformly for each batch, shared by all its places.
        calibration: The t of gBCE.
        validation_users: How many lose their newest item to early stopping.
    """

    model: str = KIND
    liked_only: bool = False
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=2, ge=1)
    longest: int = Field(default=100, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    loss: Literal["softmax", "gbce"] = "softmax"
    negatives: int = Field(default=512, ge=1)
    calibration: float = Field(default=0.75, ge=0, le=1)
    validation_users: int = Field(default=2000, ge=1)


class Block(nn.Module):
    """Causal attention and a network on each place, both behind a norm and beside a shortcut."""

    def __init__(self, params: SasrecParams) -> None:
        super().__init__()
        width = params.width
        self.heads, self.share = params.heads, params.dropout
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(params.dropout), nn.Linear(width, width)
        )
        self.drop = nn.Dropout(params.dropout)

    def forward(self, places: Tensor) -> Tensor:
        """Shape (b, l, width), the same again; a place sees itself and what was before it."""
        asked, offered, told = self._read(places)
        seen = functional.scaled_dot_product_attention(
            asked, offered, told, is_causal=True, dropout_p=self.share if self.training else 0.0
        )
        places = places + self.drop(self.write(seen.transpose(1, 2).flatten(2)))
        answer: Tensor = places + self.drop(self.network(self.before_network(places)))
        return answer

    def attention(self, places: Tensor) -> Tensor:
        """Weights (b, heads, l, l) by which a place (row) sees itself and what was before it.

        The fused attention of ``forward`` keeps none.
        """
        asked, offered, _ = self._read(places)
        fit = asked @ offered.transpose(2, 3) / asked.shape[-1] ** 0.5
        later = torch.ones(fit.shape[-2:], dtype=torch.bool, device=fit.device).triu(1)
        weights: Tensor = fit.masked_fill(later, -torch.inf).softmax(dim=-1)
        return weights

    def _read(self, places: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, each (b, heads, l, width / heads)."""
        parts = self.read(self.before_attention(places)).chunk(3, dim=-1)
        return [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts]


class Sasrec(nn.Module):
    """Item vectors, places counted back from the newest, blocks. Items are their own output."""

    def __init__(self, items: int, params: SasrecParams) -> None:
        super().__init__()
        if params.width % params.heads:
            raise ValueError(f"width {params.width} is no multiple of heads {params.heads}")
        self.longest = params.longest
        self.items = nn.Embedding(items + 1, params.width, padding_idx=items)
        self.places = nn.Embedding(params.longest, params.width)
        self.drop = nn.Dropout(params.dropout)
        self.blocks = nn.Sequential(*(Block(params) for _ in range(params.layers)))
        self.norm = nn.LayerNorm(params.width)
        with torch.no_grad():
            self.items.weight.normal_(std=0.02)[items] = 0.0
            self.places.weight.normal_(std=0.02)

    def forward(self, history: Tensor, lengths: Tensor) -> Tensor:
        """What each place expects next, shape (b, l, width).

        Args:
            history: Shape (b, l), item numbers from the left; m behind the end.
            lengths: Shape (b,). Behind the end a causal block needs no mask, nobody looks there.
        """
        expected: Tensor = self.norm(self.blocks(self._start(history, lengths)))
        return expected

    def attention(self, history: Numbers) -> Tensor:
        """Weights of every block and head for the newest items of one history.

        Returns:
            Shape (blocks, heads, l, l), see ``Block.attention``; l is at most ``longest``.
        """
        window, lengths = padded([history[-self.longest :]], self.items.padding_idx or 0)
        device = self.items.weight.device
        places = self._start(window.to(device), lengths.to(device))
        weights = []
        for block in cast("list[Block]", list(self.blocks)):
            weights.append(block.attention(places)[0])
            places = block(places)
        return torch.stack(weights)

    def _start(self, history: Tensor, lengths: Tensor) -> Tensor:
        before = torch.arange(history.shape[1], device=history.device)
        places = (self.longest - lengths[:, None] + before).clamp(0, self.longest - 1)
        scale = self.items.embedding_dim**0.5
        start: Tensor = self.drop(self.items(history) * scale + self.places(places))
        return start

    def catalogue(self, histories: Sequence[Numbers]) -> Tensor:
        """Scores of every item after each history, shape (b, m)."""
        cut = [history[-self.longest :] for history in histories]
        windows, lengths = padded(cut, self.items.padding_idx or 0)
        device = self.items.weight.device
        expected = self(windows.to(device), lengths.to(device))
        last = (lengths - 1).clamp(min=0).to(device)
        newest: Tensor = expected[torch.arange(len(cut), device=device), last]
        return newest @ self.items.weight[:-1].T


def padded(histories: Sequence[Numbers], filler: int) -> tuple[Tensor, Tensor]:
    """Histories from the left in one array of shape (b, longest of them), and their lengths."""
    lengths = np.array([len(history) for history in histories], np.int64)
    table = np.full((len(histories), max(1, int(lengths.max(initial=0)))), filler, np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate(
        [*histories, np.empty(0, np.int64)]
    )
    return torch.from_numpy(table), torch.from_numpy(lengths)


def windows(histories: Sequence[Numbers], longest: int) -> list[Numbers]:
    """Pieces of at most ``longest + 1`` items; each begins with the last item of the one before.

    Cut from the newest back, so that only the oldest piece is short; every item but a user's first
    is something to foretell exactly once.
    """
    return [
        history[max(0, end - longest - 1) : end]
        for history in histories
        for end in range(len(history), 1, -longest)
    ]


@dataclass
class SasrecTask:
    """For ``models.core.trainer``: a batch is some windows and the negatives they share.

    Attributes:
        table: Shape (w, longest + 1), windows from the left, m behind the end.
        lengths: Shape (w,), at least 2.
    """

    module: Sasrec
    table: Tensor
    lengths: Tensor
    validation: Validation
    params: SasrecParams
    batch_size: int

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Every window once, cut to the longest of its batch, with fresh negatives."""
        items = self.module.items.num_embeddings - 1
        order = torch.randperm(len(self.table), generator=generator)
        for part in torch.split(order, self.batch_size):
            lengths = self.lengths[part]
            drawn = torch.randint(items, (self.params.negatives,), generator=generator)
            yield self.table[part, : int(lengths.max())], lengths, drawn

    def batch_count(self) -> int:
        """Of one epoch."""
        return -(-len(self.table) // self.batch_size)

    def loss(self, batch: Any) -> Tensor:
        """Of every next item, among the shared negatives that are not it."""
        table, lengths, drawn = batch
        inside = torch.arange(table.shape[1] - 1, device=table.device) < lengths[:, None] - 1
        expected = self.module(table[:, :-1], lengths - 1)[inside]
        following = table[:, 1:][inside]
        weights = self.module.items.weight
        positive = (expected * weights[following]).sum(1)
        negatives = expected @ weights[drawn].T
        same = following[:, None] == drawn
        if self.params.loss == "softmax":
            return sampled_softmax(positive, negatives, same)
        items = self.module.items.num_embeddings - 1
        hidden = negatives.masked_fill(same, -torch.inf)
        return gbce(positive, hidden, items, self.params.calibration)

    def validate(self) -> float:
        """Full-catalogue ndcg of the held-out items."""
        return self.validation.ndcg(lambda _, histories: self.module.catalogue(histories))


@dataclass(frozen=True)
class SasrecScorer:
    """A fitted SASRec."""

    module: Sasrec
    params: SasrecParams
    items: int
    kind: str = KIND
    reads: Reads = ("history",)

    @property
    def liked_only(self) -> bool:
        """See ``Scorer``."""
        return self.params.liked_only

    def score(self, _: Numbers, histories: Sequence[Numbers]) -> Scores:
        """Product of what is expected next and the items; see ``Scorer``."""
        with torch.no_grad():
            found: Scores = self.module.catalogue(histories).numpy()
        return found

    def attention(self, history: Numbers) -> Scores:
        """How much each item of a history counts in what is expected next: a hint, not a reason.

        Args:
            history: Item numbers, the newest last; at least one.

        Returns:
            Shape (blocks, heads, l): the newest place's weights on the last l items, of sum 1.
        """
        with torch.no_grad():
            found: Scores = self.module.attention(history)[:, :, -1].numpy()
        return found

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        own = self.params.model_dump(exclude={"model", "liked_only"})
        write_scorer(folder, self, arrays(self.module), items=self.items, **own)


def fit(trial: Trial, rows: Interactions, context: FitContext) -> SasrecScorer:
    """Train; deterministic by the trial's seed."""
    params, config = settings(
        SasrecParams, trial, batch_size=128, learning_rate=1e-3, weight_decay=0.0
    )
    _, kept, held = hold_out(rows, params.liked_only, params.validation_users, trial.seed)
    items = len(rows.catalogue.items)
    pieces = windows(histories_of(rows, kept, np.arange(len(rows.user_ids))), params.longest)
    with seeded(trial.seed):
        module = Sasrec(items, params)
    task = SasrecTask(module, *padded(pieces, items), held, params, config.batch_size)
    train(task, config, context)
    return SasrecScorer(module.cpu().eval(), params, items)


def load(folder: Path) -> SasrecScorer:
    """Load what ``save`` wrote."""
    own, saved = read_scorer(folder)
    items = own.pop("items")
    params = SasrecParams.model_validate(own)
    return SasrecScorer(restored(Sasrec(items, params), saved), params, items)
