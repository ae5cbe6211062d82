"""Queries and texts to pairs of token ids, in whole batches on the device that runs the model.

A pair is `[CLS] query [SEP] text [SEP]`; what does not fit is cut off the text's end, never off
the query.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from encoders.texts import Tokens

from .model import CrossEncoder

#: [CLS] and two [SEP].
SPECIAL = 3


def longest_query(max_tokens: int) -> int:
    """Tokens of a query that are kept where pairs of `max_tokens` are served: half of the room."""
    return (max_tokens - SPECIAL) // 2


@dataclass
class Table:
    """Token ids of texts without special tokens, [texts, longest] with zeros after each."""

    ids: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> "Table":
        return Table(self.ids.to(device), self.lengths.to(device))

    @staticmethod
    def of(rows: Sequence[np.ndarray]) -> "Table":
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        ids = np.zeros((len(rows), max(1, int(lengths.max(initial=1)))), dtype=np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return Table(torch.from_numpy(ids), torch.from_numpy(lengths))


class Tokeniser:
    """The tokenizer of a model folder with the ids that stand around a pair."""

    def __init__(self, folder: Path) -> None:
        self._tokens = Tokens(folder)
        empty = self._tokens.ids([""], 8)[0]
        self.begin, self.end = int(empty[0]), int(empty[-1])

    def table(self, texts: Sequence[str], most: int) -> Table:
        """At most `most` tokens of each."""
        return Table.of([row[1:-1] for row in self._tokens.ids(texts, most + 2)])


@dataclass
class Pairs:
    """The queries and texts of one source, to take pairs from by position."""

    queries: Table
    texts: Table
    begin: int
    end: int

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(self.queries.to(device), self.texts.to(device), self.begin, self.end)

    def lengths(self, queries: Tensor, texts: Tensor) -> Tensor:
        return self.queries.lengths[queries] + self.texts.lengths[texts] + SPECIAL

    def width(self, queries: Tensor, texts: Tensor, most: int) -> int:
        """Of a batch, padded as little as need be. On a GPU it is `most`: to ask would be to wait."""
        return most if queries.is_cuda else _wide(int(self.lengths(queries, texts).max()), most)

    def batch(self, queries: Tensor, texts: Tensor, width: int) -> Tuple[Tensor, Tensor, Tensor]:
        """Ids, types and mask, [pairs, width], padded with zeros."""
        device = self.queries.ids.device
        place = torch.arange(width, device=device)[None, :]
        first = self.queries.lengths[queries].clamp(max=width - SPECIAL)[:, None]
        second = torch.minimum(self.texts.lengths[texts][:, None], width - SPECIAL - first)
        start = first + 2
        last = start + second
        q = self.queries.ids[queries].gather(1, (place - 1).clamp(0, self.queries.ids.shape[1] - 1).expand(len(queries), -1))
        t = self.texts.ids[texts].gather(1, (place - start).clamp(0, self.texts.ids.shape[1] - 1))
        ids = torch.where((place >= 1) & (place <= first), q, torch.zeros_like(q))
        ids = torch.where((place >= start) & (place < last), t, ids)
        ids = torch.where(place == 0, self.begin, ids)
        ids = torch.where((place == first + 1) | (place == last), self.end, ids)
        mask = place <= last
        return ids.long(), (mask & (place >= start)).long(), mask.long()


def pairs_of(tokeniser: Tokeniser, queries: List[str], texts: List[str], query_tokens: int, max_tokens: int) -> Pairs:
    most = max_tokens - SPECIAL
    return Pairs(tokeniser.table(queries, query_tokens), tokeniser.table(texts, most), tokeniser.begin, tokeniser.end)


@torch.no_grad()
def score(
    model: CrossEncoder, pairs: Pairs, lists: np.ndarray, max_tokens: int, precision: str, budget: int = 4096
) -> np.ndarray:
    """Scores of every query's list, [queries, depth] like `lists`; -inf where the list holds -1.

    Pairs of about one length share a batch of at most `budget` tokens."""
    device = pairs.queries.ids.device
    model.eval()
    row, column = np.nonzero(lists >= 0)
    out = np.full(lists.shape, -np.inf, dtype=np.float32)
    if not len(row):
        return out
    queries = torch.from_numpy(row).to(device)
    texts = torch.from_numpy(lists[row, column].astype(np.int64)).to(device)
    lengths = pairs.lengths(queries, texts).clamp(max=max_tokens)
    lengths, order = torch.sort(lengths, stable=True)
    sizes = lengths.cpu().numpy()
    found = torch.empty(len(row), device=device)
    start = 0
    while start < len(row):
        # As many as fit when all are as wide as the longest of them.
        guess = start + max(1, budget // int(sizes[start]))
        end = min(guess, len(row))
        while end > start + 1 and (end - start) * _wide(sizes[end - 1], max_tokens) > budget:
            end = start + max(1, min(end - start - 1, budget // _wide(sizes[end - 1], max_tokens)))
        some = order[start:end]
        ids, types, mask = pairs.batch(queries[some], texts[some], _wide(sizes[end - 1], max_tokens))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            found[some] = model(ids, types, mask)
        start = end
    out[row, column] = found.cpu().numpy()
    return out


def _wide(length: int, most: int) -> int:
    """Widths in steps of eight, which the fused attention wants."""
    return min(most, -(-int(length) // 8) * 8)


def scores_of(
    model: CrossEncoder, pairs: Dict[str, Pairs], lists: Dict[str, np.ndarray], max_tokens: int, precision: str, budget: int = 4096
) -> Dict[str, np.ndarray]:
    return {name: score(model, pairs[name], lists[name], max_tokens, precision, budget) for name in lists}
