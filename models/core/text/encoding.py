"""Texts to token numbers, and token numbers to batches of like length.

Belongs here: the tokenizer, padding, the order of batches. Does not belong here: what a network
makes of a batch. Needs neither torch nor transformers, so that an exported model serves without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
#: Texts are padded to a multiple of so many tokens. Less would leave few texts of one width to ask
#: together, more would compute for nothing: of 29 tokens, 32 at once, 4 and 8 cost the same.
BUCKET = 4


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

    def pad_together(
        self, rows: Sequence[Tokens], width: int | None = None
    ) -> tuple[Tokens, Tokens]:
        """Token numbers and mask of one batch, each of shape (b, width); by default the longest."""
        width = width or max(len(row) for row in rows)
        ids = np.full((len(rows), width), self.pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return ids, mask

    def outputs(self, run: Run, texts: Sequence[str], batch: int, width: int) -> Floats:
        """What a network says of texts, in their order.

        A text is padded to its own bucket whether others are asked or not, so that the shapes it
        goes through, and with them how sums are rounded, do not depend on its neighbours.

        Args:
            run: The network.
            texts: n texts.
            batch: Most texts per call. 1: whatever is in a batch moves its answers, so a text is
                asked alone and not padded.
            width: The k outputs of ``run``; needed when there is no text.

        Returns:
            Shape (n, k).
        """
        rows = self.encode(texts)
        out = np.empty((len(rows), width), np.float32)
        for tokens, chosen in self._buckets(rows, 1 if batch == 1 else BUCKET):
            for start in range(0, len(chosen), batch):
                some = chosen[start : start + batch]
                out[some] = run(*self.pad_together([rows[i] for i in some], tokens))
        return out

    def _buckets(self, rows: Sequence[Tokens], step: int) -> Iterator[tuple[int, list[int]]]:
        """Widths with the numbers of the rows that are padded to them, short ones first."""
        found: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            # a checkpoint may have no position beyond max_length
            padded = min(-(-len(row) // step) * step, max(self.max_length, len(row)))
            found.setdefault(padded, []).append(number)
        yield from sorted(found.items())
