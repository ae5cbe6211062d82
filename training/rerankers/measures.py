"""Measures of re-ranked lists, and the mix with the first stage."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.significance import ndcg


def ordered(lists: NDArray[np.int32], scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Each query's documents by falling score; ties by document, as the service has them; -1 last."""
    scores = np.where(lists >= 0, scores, -np.inf)
    order = np.lexsort((lists, -scores), axis=1)
    return np.take_along_axis(lists, order, axis=1)


def reciprocal(ranking: Sequence[int], relevant: Dict[int, float], k: int = 10) -> float:
    """1 / rank of the first relevant document within the first k, or 0."""
    for place, document in enumerate(ranking[:k]):
        if int(document) in relevant:
            return 1.0 / (place + 1)
    return 0.0


def measures(lists: NDArray[np.int32], scores: NDArray[np.float32], relevant: Sequence[Dict[int, float]]) -> Dict[str, NDArray[np.float64]]:
    """nDCG@10 and MRR@10 of every query that has a relevant document; the others are left out."""
    ranked = ordered(lists, scores)
    rows = [i for i, judged in enumerate(relevant) if judged]
    return {
        "ndcg@10": np.array([ndcg(ranked[i], relevant[i]) for i in rows]),
        "mrr@10": np.array([reciprocal(ranked[i], relevant[i]) for i in rows]),
    }


def means(values: Dict[str, NDArray[np.float64]]) -> Dict[str, float]:
    return {name: round(float(value.mean()), 5) for name, value in values.items()}


def probability(scores: NDArray[np.float32], temperature: float, offset: float) -> NDArray[np.float64]:
    """sigmoid((score - offset) / temperature)"""
    return 1.0 / (1.0 + np.exp(-np.clip((scores.astype(np.float64) - offset) / temperature, -60, 60)))


def blended(lists: NDArray[np.int32], first: NDArray[np.float32], second: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """`weight` of the re-ranker's probabilities, the rest of the first stage's scores, both
    stretched over each query's list: what the service does for `rerank.weight`. With a weight of 1
    the order is the re-ranker's own."""
    if weight >= 1.0:
        return second
    return (1 - weight) * stretched(first.astype(np.float64), lists) + weight * stretched(second, lists)


def calibrate(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> "tuple[float, float]":
    """Temperature and offset for which sigmoid((score - offset) / temperature) is most likely
    (Platt 1999, by Newton's method on two parameters). Both kinds of pairs must occur."""
    x = scores.astype(np.float64)
    y = relevant.astype(np.float64)
    if y.min() == y.max():
        raise ValueError("calibration needs pairs of both kinds")
    # Platt's targets: a finite answer where the kinds can be told apart without error.
    ones = y.sum()
    target = np.where(y > 0, (ones + 1) / (ones + 2), 1 / (len(y) - ones + 2))
    scale = max(float(x.std()), 1e-6)
    x = (x - x.mean()) / scale
    design = np.stack([x, np.ones_like(x)], axis=1)
    parameters = np.zeros(2)

    def loss(p: NDArray[np.float64]) -> float:
        z = design @ p
        return float(np.mean(np.logaddexp(0.0, z) - target * z))

    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ parameters, -60, 60)))
        gradient = design.T @ (p - target) / len(x)
        hessian = (design * (p * (1 - p))[:, None]).T @ design / len(x) + 1e-9 * np.eye(2)
        direction = np.linalg.solve(hessian, gradient)
        before, length = loss(parameters), 1.0
        while loss(parameters - length * direction) > before and length > 1e-6:
            length /= 2
        parameters = parameters - length * direction
        if np.abs(length * direction).max() < 1e-10:
            break
    slope, intercept = parameters
    if slope <= 0:
        raise ValueError("higher scores do not go with relevance")
    temperature = scale / slope
    offset = float(scores.astype(np.float64).mean()) - intercept * temperature
    return float(temperature), float(offset)


def stretched(values: NDArray[np.float64], lists: NDArray[np.int32]) -> NDArray[np.float64]:
    """Each query's values from 0 to 1 over its list, as the service stretches both sides of a mix."""
    valid = lists >= 0
    low = np.where(valid, values, np.inf).min(1, keepdims=True)
    high = np.where(valid, values, -np.inf).max(1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    return np.where(valid, (np.where(valid, values, 0.0) - low) / span, 0.0)
