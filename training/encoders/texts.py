"""Texts to token ids, to batches, to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .model import Bert
from .pooling import Pooling, pool


class Tokens:
    """The tokenizer of a model folder, without padding; texts are cut by `max_tokens`."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def ids(self, texts: Sequence[str], max_tokens: int) -> List[np.ndarray]:
        """Special tokens included in `max_tokens`."""
        self._tokenizer.enable_truncation(max_tokens)
        found = []
        for start in range(0, len(texts), 1024):
            for encoding in self._tokenizer.encode_batch(list(texts[start : start + 1024])):
                found.append(np.array(encoding.ids, dtype=np.int32))
        return found


def padded(rows: Sequence[np.ndarray], device: Optional[torch.device] = None) -> Tuple[Tensor, Tensor]:
    """Ids and mask, [batch, tokens], padded at the end with zeros."""
    width = max(len(row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def by_length(lengths: Sequence[int], budget: int) -> Iterator[List[int]]:
    """Positions in batches of texts of about one length, at most `budget` tokens with padding."""
    batch: List[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[position] > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def device_of(name: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


@torch.no_grad()
def encode(
    model: Bert,
    pooling: Pooling,
    rows: Sequence[np.ndarray],
    budget: int = 4096,
    precision: str = "fp32",
) -> np.ndarray:
    """Vectors of length 1, [texts, hidden], fp32."""
    device = next(model.parameters()).device
    model.eval()
    pooling.eval()
    out = np.empty((len(rows), model.shape.hidden), dtype=np.float32)
    for batch in by_length([len(row) for row in rows], budget):
        ids, mask = padded([rows[i] for i in batch], device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            states = model.states(ids, mask)
        vectors = pool(pooling, [state.float() for state in states], mask)
        out[batch] = vectors.cpu().numpy()
    return out
