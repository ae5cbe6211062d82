"""Measures of ranked retrieval as the service computes them, and paired tests over queries."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np


def ndcg(ranking: Sequence[int], relevant: Dict[int, float], k: int = 10) -> float:
    """nDCG@k with the grade as gain, as trec_eval has it."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    gains = np.array([relevant.get(int(d), 0.0) for d in ranking[:k]])
    best = np.sort(np.fromiter(relevant.values(), dtype=float))[::-1][:k]
    return float((gains * discount[: len(gains)]).sum() / (best * discount[: len(best)]).sum())


def recall(ranking: Sequence[int], relevant: Dict[int, float], k: int = 100) -> float:
    return sum(int(d) in relevant for d in ranking[:k]) / len(relevant)


def rankings(queries: np.ndarray, documents: np.ndarray, k: int = 100) -> np.ndarray:
    """[queries, k] documents by falling product; ties by position."""
    out = np.empty((len(queries), min(k, len(documents))), dtype=np.int64)
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ documents.T
        out[start : start + 256] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return out


def measures(queries: np.ndarray, documents: np.ndarray, relevant: Sequence[Dict[int, float]]) -> Dict[str, np.ndarray]:
    """nDCG@10 and recall@100 of every query."""
    ranked = rankings(queries, documents)
    return {
        "ndcg@10": np.array([ndcg(r, j) for r, j in zip(ranked, relevant)]),
        "recall@100": np.array([recall(r, j) for r, j in zip(ranked, relevant)]),
    }


def paired(a: np.ndarray, b: np.ndarray, rounds: int = 20_000, seed: int = 0) -> float:
    """p of a two-sided paired randomisation test (Smucker et al. 2007) for mean(a) = mean(b)."""
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    observed = abs(difference.mean())
    if observed == 0:
        return 1.0
    generator = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, rounds, 1000):
        signs = generator.integers(0, 2, size=(min(1000, rounds - start), len(difference))) * 2 - 1
        extreme += int((np.abs((signs * difference).mean(1)) >= observed - 1e-12).sum())
    return (extreme + 1) / (rounds + 1)


def shown(p: float) -> str:
    """p as tables have it: 20,000 rounds tell nothing below .0001."""
    return f"{p:.4f}" if p >= 0.0001 else "< .0001"
