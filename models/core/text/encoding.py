"""Texts to token numbers, and token numbers to batches of like length.

Belongs here: the tokenizer, padding, the order of batches. Does not belong here: what a network
makes of a batch. Needs neither torch nor transformers, so that an exported model serves without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]
#: Token numbers and mask, both of shape (b, s), to outputs of shape (b, k).
Run = Callable[[Tokens, Tokens], Floats]

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Encoding:
    """How a network wants its texts.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``, without padding.
        pad: Number of the padding token.
        max_length: Tokens kept of a text, those at its ends included.
    """

    tokenizer: Any
    pad: int
    max_length: int

    @classmethod
    def of(cls, tokenizer: Any, pad: int, max_length: int) -> Encoding:
        """An encoding by a tokenizer, whose own truncation and padding are replaced."""
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        return cls(tokenizer, pad, max_length)

    @classmethod
    def load(cls, folder: Path, pad: int, max_length: int) -> Encoding:
        """What ``save`` wrote."""
        from tokenizers import Tokenizer

        return cls.of(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), pad, max_length)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        (folder / TOKENIZER_FILE).write_text(self.tokenizer.to_str(), encoding="utf-8")

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token numbers of each text; an empty text still has its marks of begin and end."""
        clean = [
            text.encode("utf-8", "replace").decode("utf-8") for text in texts
        ]  # lone surrogates
        return [np.array(e.ids, np.int64) for e in self.tokenizer.encode_batch(clean)]

    def pad_together(self, rows: Sequence[Tokens]) -> tuple[Tokens, Tokens]:
        """Token numbers and mask of one batch, each of shape (b, longest)."""
        width = max(len(row) for row in rows)
        ids = np.full((len(rows), width), self.pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return ids, mask

    def outputs(self, run: Run, texts: Sequence[str], batch: int, width: int) -> Floats:
        """What a network says of texts, in their order.

        Batches hold texts of like length, so that little is padded.

        Args:
            run: The network.
            texts: n texts.
            batch: Texts per batch, at least 1.
            width: The k outputs of ``run``; needed when there is no text.

        Returns:
            Shape (n, k).
        """
        rows = self.encode(texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        out = np.empty((len(rows), width), np.float32)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            out[chosen] = run(*self.pad_together([rows[i] for i in chosen]))
        return out
