"""How well queries find their function, and how vectors lie to one another."""

from __future__ import annotations

from typing import Dict

import numpy as np


def ranks(queries: np.ndarray, code: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Place of the right function of each query, from 1; ties count against it."""
    found = np.empty(len(queries), dtype=np.int64)
    for at in range(0, len(queries), 512):
        scores = queries[at : at + 512] @ code.T
        own = scores[np.arange(len(scores)), right[at : at + 512]]
        found[at : at + 512] = (scores >= own[:, None]).sum(axis=1)
    return found


def measure(queries: np.ndarray, code: np.ndarray, right: np.ndarray) -> Dict[str, float]:
    """MRR over all functions and recall@10."""
    found = ranks(queries, code, right)
    return {"mrr": float((1 / found).mean()), "recall@10": float((found <= 10).mean())}


def degrees(cosines: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def angles(queries: np.ndarray, code: np.ndarray, right: np.ndarray) -> Dict[str, float]:
    """In degrees: the mean angle between two functions, and how much farther than the right function
    the nearest wrong one lies, on average (negative where it is nearer)."""
    total, pairs = 0.0, len(code) * (len(code) - 1)
    for at in range(0, len(code), 1024):
        part = degrees(code[at : at + 1024] @ code.T)
        rows = np.arange(len(part))
        part[rows, at + rows] = 0.0
        total += part.sum(dtype=np.float64)
    scores = queries @ code.T
    rows = np.arange(len(queries))
    own = scores[rows, right].copy()
    scores[rows, right] = -np.inf
    nearest = scores.max(axis=1)
    return {"pairwise": float(total / pairs), "margin": float((degrees(nearest) - degrees(own)).mean())}
