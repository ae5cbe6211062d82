"""What is re-ranked: the first stage's candidates of every query, computed once and kept.

The first stage here is what the service does by default in miniature: BM25 and the base encoder's
cosine, each with its best candidates scaled to 0..1 over them, added in equal parts.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from encoders.data import Source

#: Candidates of each leg, and of the fusion.
DEPTH = 100
#: Texts are cut there for the vectors, as they are served.
TEXT_TOKENS = 256


@dataclass
class Candidates:
    """Documents by falling score, with -1 where a query has fewer; ties by position."""

    #: [queries, DEPTH] of the fusion, and its scores, 0 to 1.
    fused: NDArray[np.int32]
    scores: NDArray[np.float32]
    #: [queries, DEPTH] of BM25 alone.
    words: NDArray[np.int32]
    #: Per query: BM25's rank of every relevant document, in the order of the source's judgments, from 0.
    ranks: List[NDArray[np.int32]]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(
            partial,
            fused=self.fused.astype(np.int16 if self.fused.max() < 2**15 else np.int32),
            scores=self.scores.astype(np.float16),
            words=self.words.astype(np.int16 if self.words.max() < 2**15 else np.int32),
            ranks=np.concatenate([*self.ranks, np.zeros(0, np.int32)]).astype(np.int32),
            counts=np.array([len(r) for r in self.ranks], dtype=np.int32),
        )
        partial.replace(path)

    @staticmethod
    def read(path: Path) -> "Candidates":
        with np.load(path) as found:
            ends = np.cumsum(found["counts"])
            return Candidates(
                found["fused"].astype(np.int32),
                found["scores"].astype(np.float32),
                found["words"].astype(np.int32),
                np.split(found["ranks"], ends)[: len(ends)],
            )


def identity(source: Source) -> str:
    """Changes with any text or query."""
    digest = hashlib.sha256()
    for part in (*source.texts, "", *source.queries):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def scaled(scores: NDArray[np.float32]) -> Tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best documents of every row and their scores from 0 to 1; ties by position."""
    depth = min(DEPTH, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    best = np.take_along_axis(scores, order, axis=1)
    high, low = best[:, :1], best[:, -1:]
    return order, (best - low) / np.maximum(high - low, 1e-6)


def fuse(words: NDArray[np.float32], cosine: NDArray[np.float32]) -> Tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Documents and scores of the fusion, and documents of the words, for [queries, documents]."""
    total = np.zeros_like(cosine)
    found = np.zeros(cosine.shape, dtype=bool)
    by_words, values = scaled(words)
    # A document without any of the words is no candidate of BM25.
    some = np.take_along_axis(words, by_words, axis=1) > 0
    for order, part, valid in ((by_words, values, some), (*scaled(cosine), None)):
        part = part if valid is None else np.where(valid, part, 0.0)
        np.put_along_axis(total, order, np.take_along_axis(total, order, 1) + part / 2, axis=1)
        reached = np.ones(order.shape, bool) if valid is None else valid
        np.put_along_axis(found, order, np.take_along_axis(found, order, 1) | reached, axis=1)
    depth = min(DEPTH, cosine.shape[1])
    fused = np.argsort(-np.where(found, total, -1.0), axis=1, kind="stable")[:, :depth]
    scores = np.take_along_axis(total, fused, axis=1)
    fused = np.where(np.take_along_axis(found, fused, axis=1), fused, -1)
    return _deep(fused, -1), _deep(scores, 0.0), _deep(np.where(some, by_words, -1), -1)


def _deep(values: NDArray, fill: float) -> NDArray:
    """[queries, DEPTH], where a small collection has fewer documents than that."""
    kind = np.float32 if values.dtype.kind == "f" else np.int32
    out = np.full((len(values), DEPTH), fill, dtype=kind)
    out[:, : values.shape[1]] = values
    return out


def file_name(source: Source) -> str:
    return f"candidates-{source.name}-{identity(source)}.npz"


def candidates(source: Source, base: Path, cache: Path, data: Optional[Path] = None, precision: str = "bf16") -> Candidates:
    """Of every query of a source; read from `cache` where they are kept, or from what the folder
    of collections brings along of them."""
    path = cache / file_name(source)
    for known in (path, *([data / "candidates" / path.name] if data else [])):
        if known.is_file():
            return Candidates.read(known)
    found = compute(source, base, cache, precision)
    found.write(path)
    # As it will be read: the scores are kept in 16 bits.
    return Candidates.read(path)


def compute(source: Source, base: Path, cache: Optional[Path], precision: str) -> Candidates:
    from encoders.lexical import Bm25
    from encoders.model import Bert
    from encoders.pooling import Mean
    from encoders.teacher import _encoded
    from encoders.texts import Tokens, device_of, encode

    device = device_of("auto")
    bert, tokens = Bert.read(base).to(device), Tokens(base)

    def vectors(part: str, of: List[str]) -> NDArray[np.float32]:
        if device.type == "cuda":
            # Seconds: not worth keeping.
            return encode(bert, Mean(), tokens.ids(of, TEXT_TOKENS), 65536, precision)
        return _encoded(source, of, part, bert, tokens, cache, TEXT_TOKENS, precision)

    texts, queries = vectors("texts", source.texts), vectors("queries", source.queries)
    bm25 = Bm25(source.texts)
    rows = bm25.queries(source.queries)
    parts: List[Tuple[NDArray, NDArray, NDArray]] = []
    ranks: List[NDArray[np.int32]] = []
    for start in range(0, len(source.queries), 256):
        words = (rows[start : start + 256] @ bm25.documents.T).toarray()
        parts.append(fuse(words, queries[start : start + 256] @ texts.T))
        for i, scores in enumerate(words):
            judged = np.fromiter(source.relevant[start + i], dtype=np.int64)
            better = scores[None, :] > scores[judged][:, None]
            tied = (scores[None, :] == scores[judged][:, None]) & (np.arange(len(scores))[None, :] < judged[:, None])
            ranks.append((better | tied).sum(1).astype(np.int32))
    fused, scores, words = (np.concatenate(part) for part in zip(*parts))
    return Candidates(fused, scores, words, ranks)


#: Kinds of sources that `prepare` takes: what may train or choose, and what only reports.
SOURCE, EVALUATE = "source", "evaluation"


def prepare_one(kind: str, name: str, limit: int, data: Path, base: Path, cache: Path) -> str:
    from encoders.data import evaluation, read

    source = evaluation(data, name) if kind == EVALUATE else read(data, name, limit or None)
    candidates(source, base, cache, data)
    return f"{kind} {name}: {len(source.texts)} texts, {len(source.queries)} queries"


def prepare(wanted: Sequence[Tuple[str, str, int]], data: Path, base: Path, cache: Path, jobs: int) -> None:
    """Computes what is missing, several at a time: (kind, name, limit), the dearest first."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as workers:
        futures = [workers.submit(prepare_one, *one, data, base, cache) for one in wanted]
        for future in as_completed(futures):
            print(future.result(), flush=True)
