"""Judgments as one retriever would have left them: what it did not show was never judged.

A relevant document stays judged with a probability that falls with the rank BM25 gives it,

    p(rank) = 1 / (1 + exp((rank - depth) / (depth / 5))),    rank from 0,

about 1 well above `depth` and about 0 well below it. Whether it stays depends on a hash of query
and document, so that the same ones stay in every run and a stronger bias keeps a part of what a
weaker one keeps.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Dict, List, Sequence

import numpy as np

from encoders.data import Source

#: Depth of the one retriever's pool: the smaller, the stronger the bias.
STRENGTHS = {"strong": 10, "mild": 50}


def stays(rank: int, depth: int) -> float:
    """Probability that a relevant document at that rank was judged."""
    return 1.0 / (1.0 + math.exp(min((rank - depth) / (depth / 5), 700.0)))


def draw(source: str, query: str, document: int) -> float:
    """From 0 to 1, the same in every run."""
    digest = hashlib.sha256(f"{source}\n{query}\n{document}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def thin(source: Source, ranks: Sequence[np.ndarray], depth: int) -> Source:
    """The same source with the judgments that stay. `ranks` holds BM25's rank of every relevant
    document in the order of the judgments. Queries may end up without any."""
    relevant: List[Dict[int, float]] = []
    for query, judged, places in zip(source.queries, source.relevant, ranks):
        relevant.append(
            {
                document: grade
                for (document, grade), rank in zip(judged.items(), places)
                if draw(source.name, query, document) < stays(int(rank), depth)
            }
        )
    return replace(source, relevant=relevant)
