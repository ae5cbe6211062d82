"""What training knows of its sources before it starts: the teacher's scores, hard negatives.

The teacher is a fusion of BM25 and the encoder as it was, each scaled to 0..1 over a query's
ranking, which finds more than either alone. Nothing of it is larger than a few vectors a text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from .data import Source
from .lexical import Bm25
from .model import Bert
from .pooling import Mean
from .significance import ndcg
from .texts import Tokens, encode


@dataclass
class Mined:
    """A source with the teacher's view of it."""

    source: Source
    text_vectors: NDArray[np.float32]
    query_vectors: NDArray[np.float32]
    words: Bm25
    #: Per query: the largest BM25 score, and the cosines that become 0 and 1.
    best_words: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    #: Per query: candidates for negatives, best first by the teacher, judged ones left out.
    candidates: List[NDArray[np.int64]]
    #: Of the words in the fusion.
    weight: float = 0.5

    def __post_init__(self) -> None:
        self.query_words = self.words.queries(self.source.queries)

    def scores(self, queries: Sequence[int], texts: Sequence[int]) -> NDArray[np.float32]:
        """The teacher's scores, [queries, texts], about 0 to 1."""
        rows = list(queries)
        words = (self.query_words[rows] @ self.words.documents[list(texts)].T).toarray()
        words = words / self.best_words[rows][:, None]
        cosine = self.query_vectors[rows] @ self.text_vectors[list(texts)].T
        return self.weight * words + (1 - self.weight) * self._scaled(cosine, rows)

    def _scaled(self, cosine: NDArray[np.float32], rows: List[int]) -> NDArray[np.float32]:
        low, high = self.low[rows][:, None], self.high[rows][:, None]
        return np.maximum((cosine - low) / np.maximum(high - low, 1e-3), -0.5)

    def negatives(
        self, query: int, answer: int, count: int, ratio: float, among: int, generator: np.random.Generator
    ) -> List[int]:
        """TopK-PercPos (NV-Embed, arXiv 2405.17428): of the first `among` candidates that the
        encoder scores at most `ratio` times as high as the answer, `count` at random. Filled
        up with any texts that are not judged."""
        vector = self.query_vectors[query]
        candidates = self.candidates[query]
        bound = ratio * float(vector @ self.text_vectors[answer])
        allowed = candidates[self.text_vectors[candidates] @ vector <= bound][:among]
        chosen = list(generator.choice(allowed, size=min(count, len(allowed)), replace=False)) if len(allowed) else []
        judged = self.source.relevant[query]
        while len(chosen) < count:
            other = int(generator.integers(len(self.source.texts)))
            if other not in judged and other not in chosen:
                chosen.append(other)
        return [int(c) for c in chosen]

    def ndcg(self, queries: Sequence[int], weight: float) -> float:
        """nDCG@10 of the fusion with that weight of the words."""
        values = []
        for query in queries:
            scores = self._fused(query, weight)
            ranked = np.argpartition(-scores, min(20, len(scores) - 1))[:20]
            ranked = ranked[np.argsort(-scores[ranked], kind="stable")]
            values.append(ndcg(ranked, self.source.relevant[query]))
        return float(np.mean(values))

    def _fused(self, query: int, weight: float) -> NDArray[np.float32]:
        words = (self.query_words[[query]] @ self.words.documents.T).toarray()[0] / self.best_words[query]
        cosine = (self.text_vectors @ self.query_vectors[query])[None]
        return weight * words + (1 - weight) * self._scaled(cosine, [query])[0]


def mine(
    source: Source,
    model: Bert,
    tokens: Tokens,
    cache: Optional[Path],
    max_tokens: int,
    precision: str = "fp32",
    depth: int = 100,
    weight: float = 0.5,
) -> Mined:
    """Encodes a source with the encoder as it is (kept in `cache`) and ranks it for every query."""
    texts = _encoded(source, source.texts, "texts", model, tokens, cache, max_tokens, precision)
    queries = _encoded(source, source.queries, "queries", model, tokens, cache, max_tokens, precision)
    words = Bm25(source.texts)
    count = len(source.queries)
    mined = Mined(
        source,
        texts,
        queries,
        words,
        np.ones(count, dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.ones(count, dtype=np.float32),
        [],
        weight,
    )
    depth = min(depth, len(source.texts) - 1)
    for start in range(0, count, 256):
        rows = range(start, min(start + 256, count))
        lexical = (mined.query_words[list(rows)] @ words.documents.T).toarray()
        cosine = queries[start : start + 256] @ texts.T
        mined.best_words[list(rows)] = np.maximum(lexical.max(1), 1e-6)
        ordered = -np.partition(-cosine, depth, axis=1)[:, : depth + 1]
        mined.high[list(rows)] = ordered.max(1)
        mined.low[list(rows)] = ordered.min(1)
        for i, query in enumerate(rows):
            fused = weight * lexical[i] / mined.best_words[query]
            fused = fused + (1 - weight) * mined._scaled(cosine[i : i + 1], [query])[0]
            ranked = np.argpartition(-fused, depth)[:depth]
            ranked = ranked[np.argsort(-fused[ranked], kind="stable")]
            judged: Dict[int, float] = source.relevant[query]
            mined.candidates.append(np.array([t for t in ranked if int(t) not in judged], dtype=np.int64))
    return mined


def _encoded(
    source: Source,
    texts: List[str],
    part: str,
    model: Bert,
    tokens: Tokens,
    cache: Optional[Path],
    max_tokens: int,
    precision: str,
) -> NDArray[np.float32]:
    if cache is None:
        return encode(model, Mean(), tokens.ids(texts, max_tokens), precision=precision)
    identity = hashlib.sha256("\0".join([precision, str(max_tokens), *texts]).encode()).hexdigest()[:16]
    file = cache / f"base-{source.name}-{part}-{identity}.npy"
    if file.is_file():
        return np.load(file).astype(np.float32)
    vectors = encode(model, Mean(), tokens.ids(texts, max_tokens), precision=precision)
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npy")
    np.save(partial, vectors)
    partial.replace(file)
    return vectors
