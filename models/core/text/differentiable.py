"""A text predictor's torch network, opened at its token embeddings.

Belongs here: embedding texts, answering from embeddings, attention. Does not belong here: what is
done with gradients (``models.core.robustness``, ``models.core.explain``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.contracts.learner import Matrix, TextPredictor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Embedded:
    """Texts as a network receives them.

    Attributes:
        tokens: The s tokens of each text, without padding.
        ids: Shape (n, s), token numbers.
        mask: Shape (n, s), 1 for a token and 0 for padding.
        vectors: Shape (n, s, e), what the embedding layer makes of the numbers.
        neutral: Shape (n, s, e), the same with every token but those at the ends of a text replaced
            by padding: a text that says nothing.
    """

    tokens: tuple[tuple[str, ...], ...]
    ids: Tensor
    mask: Tensor
    vectors: Tensor
    neutral: Tensor


class Differentiable(Protocol):
    """What attacks and explanations by gradient need of a predictor."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Texts up to their token embeddings."""
        ...

    def logits(self, vectors: Tensor, texts: Embedded) -> Tensor:
        """Log-odds, shape (n, answered labels), from embeddings in place of ``texts.vectors``."""
        ...

    def attentions(self, texts: Embedded) -> Tensor:
        """Attention weights of the first text, shape (layers, heads, s, s)."""
        ...

    def column(self, label: str) -> int:
        """Place of a label in ``logits``."""
        ...

    def features(self, texts: Sequence[str]) -> Matrix | None:
        """What the head is given, shape (n, hidden); None where the network has no such place."""
        ...


@dataclass(frozen=True)
class TorchText:
    """A `models.core.text.predictor.NetworkText` whose network is a module of torch."""

    predictor: Any

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Texts up to their token embeddings."""
        import torch

        encoding = self.predictor.encoding
        rows = encoding.encode(texts)
        ids, mask = (torch.from_numpy(array) for array in encoding.pad_together(rows))
        ends = torch.zeros_like(mask)
        ends[:, 0] = 1
        ends[torch.arange(len(rows)), mask.sum(dim=1) - 1] = 1
        blank = torch.where(ends == 1, ids, torch.full_like(ids, encoding.pad))
        layer = self._transformer.get_input_embeddings()
        with torch.no_grad():
            vectors, neutral = layer(ids), layer(blank)
        tokens = tuple(
            tuple(str(encoding.tokenizer.id_to_token(int(number))) for number in row)
            for row in rows
        )
        return Embedded(tokens, ids, mask, vectors, neutral)

    def logits(self, vectors: Tensor, texts: Embedded) -> Tensor:
        """Log-odds, shape (n, answered labels), from embeddings in place of ``texts.vectors``.

        ``texts`` may be a single one, of which ``vectors`` holds n versions.
        """
        ids, mask = (array.expand(len(vectors), -1) for array in (texts.ids, texts.mask))
        layer = self._transformer.get_input_embeddings()
        # in place of the layer's own answer, so that pooling and head are the network's, not a copy
        hook = layer.register_forward_hook(lambda *_: vectors)
        try:
            answer: Tensor = self.predictor.network.module(ids, mask)
        finally:
            hook.remove()
        return answer

    def attentions(self, texts: Embedded) -> Tensor:
        """Attention weights of the first text, shape (layers, heads, s, s)."""
        import torch

        length = int(texts.mask[0].sum())
        ids, mask = texts.ids[:1, :length], texts.mask[:1, :length]
        with _eager(self._transformer), torch.no_grad():
            found = self._transformer(input_ids=ids, attention_mask=mask, output_attentions=True)
        return torch.stack(found.attentions)[:, 0]

    def column(self, label: str) -> int:
        """Place of a label in ``logits``.

        Raises:
            ValueError: The predictor does not answer this label.
        """
        number = self.predictor.labels.index(label)
        answered = tuple(self.predictor.answered)
        if number not in answered:
            raise ValueError(f"the model never learned {label!r}, so there is nothing to explain")
        return answered.index(number)

    def features(self, texts: Sequence[str]) -> Matrix | None:
        """What the head is given, shape (n, hidden); None where the network has no such place."""
        from models.core.text.network import forward

        embedder = getattr(self.predictor.network.module, "embedder", None)
        if embedder is None:
            return None
        found = self.predictor.encoding.outputs(
            lambda ids, mask: forward(embedder, ids, mask),
            texts,
            self.predictor.network.batch,
            embedder.encoder.config.hidden_size,
        )
        return np.asarray(found, np.float64)

    @property
    def _transformer(self) -> Any:
        module = self.predictor.network.module
        return getattr(module, "encoder", None) or module.classifier


def differentiable(predictor: TextPredictor) -> Differentiable | None:
    """The predictor opened at its embeddings; None where it has no torch network."""
    module = getattr(getattr(predictor, "network", None), "module", None)
    if module is None or not hasattr(predictor, "encoding"):
        return None
    return TorchText(predictor)


@contextmanager
def _eager(transformer: Any) -> Iterator[None]:
    """Fused attention keeps no weights; the plain implementation answers the same and does."""
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)
