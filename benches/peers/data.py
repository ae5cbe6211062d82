#!/usr/bin/env python3
"""The vectors of the benchmark: what is in a dataset's folder, and what is true of it.

    data.py glove EMBEDDINGS.npy DIR   a dataset from published word vectors
    data.py truth DIR                  truth.u32: the nearest of every query, exactly
    data.py filters DIR OUT            masks that pass fewer and fewer points, with their truth
    data.py churn DIR OUT              which points leave, which come, and the truth after it

A folder holds base.f32 and queries.f32 (raw little-endian rows), meta.json and, once
prepared, truth.u32: for every query the ids of the 100 points of greatest inner
product, ties by lower id, 0xffffffff where there are fewer points. Every choice is
made by a fixed seed, so that a run anywhere is about the same vectors.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

MISSING = 0xFFFFFFFF
TRUTH_DEPTH = 100
GLOVE_BASE = 100_000
GLOVE_QUERIES = 1_000
SEED = 20_260

# A point that comes back differs from the one that left by about this part of its length.
CHURN_NOISE = 0.1

# Scores of this many queries are held at once.
QUERY_BLOCK = 200


@dataclass(frozen=True)
class Dataset:
    """One folder, opened; rows are read when asked for."""

    folder: Path
    name: str
    dimensions: int
    count: int
    queries_count: int

    def base(self) -> np.ndarray:
        """count x dimensions, f32, read into memory."""
        return self._rows("base.f32", self.count)

    def queries(self) -> np.ndarray:
        return self._rows("queries.f32", self.queries_count)

    def _rows(self, name: str, count: int) -> np.ndarray:
        path = self.folder / name
        rows = np.fromfile(path, dtype="<f4")
        if rows.size != count * self.dimensions:
            raise ValueError(f"{path} has {rows.size} numbers, {count} x {self.dimensions} expected")
        return rows.reshape(count, self.dimensions)


def load(folder: Path) -> Dataset:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Dataset(folder, meta["name"], meta["dimensions"], meta["count"], meta["queries"])


def write(folder: Path, name: str, base: np.ndarray, queries: np.ndarray) -> None:
    base.astype("<f4").tofile(folder / "base.f32")
    queries.astype("<f4").tofile(folder / "queries.f32")
    meta = {"name": name, "dimensions": base.shape[1], "count": len(base), "queries": len(queries)}
    (folder / "meta.json").write_text(json.dumps(meta) + "\n", encoding="utf-8")


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros is no direction and must not be among them."""
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled.astype(np.float32)


def glove(embeddings: Path, folder: Path) -> None:
    """100,000 of the words as base and 1,000 others as queries."""
    rows = np.load(embeddings, mmap_mode="r")
    chosen = np.random.default_rng(SEED).permutation(len(rows))[: GLOVE_BASE + GLOVE_QUERIES]
    vectors = unit(np.asarray(rows[chosen], dtype=np.float32))
    write(folder, "glove", vectors[:GLOVE_BASE], vectors[GLOVE_BASE:])


# Truth


def exact(base: np.ndarray, queries: np.ndarray, depth: int, ids: Optional[np.ndarray] = None) -> np.ndarray:
    """queries x depth ids by inner product in f32, ties by lower id. `ids` names the rows
    of `base`, ascending; their numbers otherwise."""
    names = np.arange(len(base), dtype=np.uint32) if ids is None else ids.astype(np.uint32)
    found = np.full((len(queries), depth), MISSING, dtype="<u4")
    for start in range(0, len(queries), QUERY_BLOCK):
        scores = queries[start : start + QUERY_BLOCK] @ base.T
        for row, of_query in enumerate(scores, start):
            nearest = _greatest(of_query, depth)
            found[row, : len(nearest)] = names[nearest]
    return found


def _greatest(scores: np.ndarray, depth: int) -> np.ndarray:
    """Positions of the greatest scores. All that reach the last score kept take part in the
    sort, because a partition alone would keep any of those that tie there."""
    if depth < len(scores):
        least = np.partition(scores, len(scores) - depth)[len(scores) - depth]
        candidates = np.flatnonzero(scores >= least)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:depth]


def truth(folder: Path) -> None:
    dataset = load(folder)
    _replace(folder / "truth.u32", exact(dataset.base(), dataset.queries(), TRUTH_DEPTH))


def _replace(path: Path, rows: np.ndarray) -> None:
    """By rename: a run that was stopped leaves no half of a truth behind."""
    partial = path.with_name(path.name + ".partial")
    rows.tofile(partial)
    partial.replace(path)


# Filters and churn


def filters(folder: Path, out: Path, parts: "list[int]") -> None:
    """For every part, pass-PART.u8 passes one point in so many, and pass-PART.truth.u32."""
    dataset = load(folder)
    base, queries = dataset.base(), dataset.queries()
    for part in parts:
        order = np.random.default_rng([SEED, part]).permutation(dataset.count)
        passing = np.sort(order[: max(1, dataset.count // part)])
        mask = np.zeros(dataset.count, dtype=np.uint8)
        mask[passing] = 1
        mask.tofile(out / f"pass-{part}.u8")
        exact(base[passing], queries, TRUTH_DEPTH, passing).tofile(out / f"pass-{part}.truth.u32")


def churn(folder: Path, out: Path) -> None:
    """delete.u8 marks a half of the points; insert.f32 holds as many new ones, which take
    the ids from count on in the order of the ids that left; churn.truth.u32 is about
    the points alive after both. New points lie near those that left: a real collection
    is edited, not replaced by noise."""
    dataset = load(folder)
    base, queries = dataset.base(), dataset.queries()
    random = np.random.default_rng([SEED, 1])
    leaving = np.sort(random.permutation(dataset.count)[: dataset.count // 2])
    mask = np.zeros(dataset.count, dtype=np.uint8)
    mask[leaving] = 1
    noise = random.standard_normal((len(leaving), dataset.dimensions)).astype(np.float32)
    coming = unit(base[leaving] + noise * (CHURN_NOISE / np.sqrt(dataset.dimensions)))
    staying = np.flatnonzero(mask == 0)
    ids = np.concatenate([staying, dataset.count + np.arange(len(coming))])
    alive = np.concatenate([base[staying], coming])
    mask.tofile(out / "delete.u8")
    coming.astype("<f4").tofile(out / "insert.f32")
    exact(alive, queries, TRUTH_DEPTH, ids).tofile(out / "churn.truth.u32")


def main() -> None:
    parser = argparse.ArgumentParser(prog="data.py", description=__doc__.split("\n")[0])
    steps: Any = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("glove")
    step.add_argument("embeddings", type=Path)
    step.add_argument("folder", type=Path)
    steps.add_parser("truth").add_argument("folder", type=Path)
    for name in ("filters", "churn"):
        step = steps.add_parser(name)
        step.add_argument("folder", type=Path)
        step.add_argument("out", type=Path)
    steps.choices["filters"].add_argument("--parts", type=int, nargs="+", required=True)
    options = parser.parse_args()
    if options.step == "glove":
        glove(options.embeddings, options.folder)
    elif options.step == "truth":
        truth(options.folder)
    elif options.step == "filters":
        filters(options.folder, options.out, options.parts)
    else:
        churn(options.folder, options.out)


if __name__ == "__main__":
    main()
