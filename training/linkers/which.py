"""Fits the weights by which databases are ranked for a question (src/sql/which.rs): a softmax over
the databases of each question, by the features that `gleaner eval schema --which --features DIR`
writes. Databases that are held out (linkers.schema.held_out) are not fitted on.

    gleaner eval schema --which --linker "" --questions train.json --tables tables.json --features DIR
    python -m linkers.which DIR/which.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import List, Tuple

import numpy as np

from .schema import held_out

STEPS = 3_000
RATE = 0.05
#: Keeps weights of features that tell little small.
DECAY = 1e-4

Asked = Tuple[np.ndarray, int]


def read(file: Path, features: int, out: bool) -> List[Asked]:
    """Rows of each question whose right database is among them, and its place."""
    asked = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if held_out(row["database"]) != out:
            continue
        kept = [c for c in row["candidates"] if len(c["features"]) >= features]
        names = [c["database"] for c in kept]
        if row["database"] in names:
            asked.append((np.array([c["features"][:features] for c in kept]), names.index(row["database"])))
    return asked


def fit(asked: List[Asked]) -> np.ndarray:
    """Weights with the least cross entropy, by Adam over all questions."""
    most = max(len(rows) for rows, _ in asked)
    width = asked[0][0].shape[1]
    rows = np.zeros((len(asked), most, width))
    there = np.zeros((len(asked), most), bool)
    for n, (own, _) in enumerate(asked):
        rows[n, : len(own)] = own
        there[n, : len(own)] = True
    right = np.array([place for _, place in asked])
    scale = rows[there].std(axis=0) + 1e-9
    rows /= scale
    weights = np.zeros(width)
    first, second = np.zeros(width), np.zeros(width)
    for step in range(1, STEPS + 1):
        scores = np.where(there, rows @ weights, -1e9)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(asked)), right] -= 1
        slope = np.einsum("nm,nmw->w", shares, rows) / len(asked) + DECAY * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        weights -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-9)
    return weights / scale


def among(asked: List[Asked], weights: np.ndarray, most: int) -> float:
    found = 0
    for rows, right in asked:
        scores = rows @ weights
        found += int((scores > scores[right]).sum() < most)
    return found / max(len(asked), 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="linkers.which", description=__doc__.split("\n")[0])
    parser.add_argument("features", type=Path)
    file = parser.parse_args().features
    for name, width in (("FIRST", 5), ("BOTH", 9)):
        weights = fit(read(file, width, out=False))
        print(f"const {name}: [f32; {width}] = {[round(float(weight), 3) for weight in weights]};")
        for part, out in (("fitted", False), ("held out", True)):
            asked = read(file, width, out)
            shares = ", ".join(f"first {k}: {among(asked, weights, k):.4f}" for k in (1, 3, 5))
            print(f"// {part}, {len(asked)} questions whose database is among those: {shares}")


if __name__ == "__main__":
    main()
