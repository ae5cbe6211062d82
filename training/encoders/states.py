"""Token states of layers that do not change, computed once and kept in a file.

A run that trains only the upper layers reads these instead of running the lower ones: the
same result for a fraction of the time, which is what lets poolings be compared with several
seeds on a processor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from .model import Bert
from .pooling import masked_mean
from .texts import by_length, padded


@dataclass
class Frozen:
    """States that layer `first` takes, f16, every text's tokens one after the other, and the
    masked means of the states below it, [texts, first, hidden]."""

    states: np.ndarray
    starts: np.ndarray
    below: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> List[int]:
        return np.diff(self.starts).tolist()

    def batch(
        self, positions: Sequence[int], device: torch.device, most: Optional[int] = None
    ) -> Tuple[Tensor, Tensor, Tensor]:
        rows = [self.states[self.starts[i] : self.starts[i + 1]] for i in positions]
        width = max(len(row) for row in rows)
        states = np.zeros((len(rows), width, self.states.shape[1]), dtype=np.float32)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            states[i, : len(row)] = row
            mask[i, : len(row)] = 1
        below = self.below[list(positions)].astype(np.float32)
        return tuple(torch.from_numpy(part).to(device) for part in (states, mask, below))


@torch.no_grad()
def freeze(
    bert: Bert,
    rows: Sequence[np.ndarray],
    first: int,
    folder: Path,
    budget: int = 4096,
    precision: str = "fp32",
) -> Frozen:
    """Computes the states below `first`, or reads them where `folder` holds them already. The
    encoder below `first` has to be the same for one folder."""
    identity = hashlib.sha256(f"{first} {precision}".encode())
    for row in rows:
        identity.update(row.tobytes())
    path = folder / f"states-{identity.hexdigest()[:16]}.npy"
    lengths = [len(row) for row in rows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    hidden = bert.shape.hidden
    below_path = path.with_suffix(".below.npy")
    if not (path.is_file() and below_path.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        states = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(int(starts[-1]), hidden))
        below = np.empty((len(rows), first, hidden), dtype=np.float16)
        device = next(bert.parameters()).device
        bert.eval()
        for batch in by_length(lengths, budget):
            ids, mask = padded([rows[i] for i in batch], device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                found = [state.float() for state in bert.states(ids, mask, last=first)]
            means = torch.stack([masked_mean(state, mask) for state in found[:-1]], dim=1)
            below[batch] = means.cpu().numpy()
            top = found[-1].cpu().numpy()
            for i, text in enumerate(batch):
                states[starts[text] : starts[text + 1]] = top[i, : lengths[text]]
        states.flush()
        np.save(below_path, below)
        partial.replace(path)
    return Frozen(np.load(path, mmap_mode="r"), starts, np.load(below_path))
