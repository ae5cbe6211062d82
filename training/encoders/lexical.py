"""BM25 over a small collection, as a matrix: the words' half of the teacher."""

from __future__ import annotations

import re
from typing import Dict, List, Sequence

import numpy as np
import Stemmer
from scipy import sparse

WORD = re.compile(r"[^\W_]+")
#: Lucene's English stop words.
STOP = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there "
    "these they this to was will with".split()
)


class Bm25:
    """BM25 (Robertson and Zaragoza 2009) with k1 1.2 and b 0.75, the service's defaults."""

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        self._stem = Stemmer.Stemmer("english")
        self._column: Dict[str, int] = {}
        rows = [self._terms(text, grow=True) for text in texts]
        counts = self._matrix(rows)
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
        idf = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
        norm = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0))
        entries = counts.tocoo()
        weights = entries.data * (k1 + 1) / (entries.data + norm[entries.row]) * idf[entries.col]
        self.documents = sparse.csr_matrix((weights, (entries.row, entries.col)), shape=counts.shape, dtype=np.float32)

    def queries(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row a query; `rows @ documents.T` are the scores."""
        return self._matrix([self._terms(text, grow=False) for text in texts])

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """[queries, documents]"""
        return (self.queries(texts) @ self.documents.T).toarray()

    def _terms(self, text: str, grow: bool) -> List[int]:
        words = [word for word in WORD.findall(text.lower()) if word not in STOP]
        found = []
        for stem in self._stem.stemWords(words):
            column = self._column.setdefault(stem, len(self._column)) if grow else self._column.get(stem)
            if column is not None:
                found.append(column)
        return found

    def _matrix(self, rows: List[List[int]]) -> sparse.csr_matrix:
        row = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        column = np.fromiter((c for r in rows for c in r), dtype=np.int64)
        ones = np.ones(len(column), dtype=np.float32)
        return sparse.csr_matrix((ones, (row, column)), shape=(len(rows), len(self._column)))
