"""Every batch of a run, drawn before it starts: which queries, which relevant text, which others.

Queries and relevant texts come from one stream of the seed, the others from another: runs that
differ in where negatives come from see the same queries with the same relevant texts in the same
order, and runs with the same negatives see the same pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional

import numpy as np
from numpy.typing import NDArray

from encoders.data import Source

from .first_stage import Candidates


@dataclass
class Drawn:
    """[queries] and [queries, 1 + negatives], the relevant text first; and the first stage's scores
    of the texts, 0 where a text is none of its candidates."""

    queries: NDArray[np.int64]
    texts: NDArray[np.int64]
    teacher: NDArray[np.float32]


class Pool:
    """What batches of one source are drawn from."""

    def __init__(self, source: Source, candidates: Candidates, way: str, among: int) -> None:
        self.training = np.array([q for q in source.training if source.relevant[q]], dtype=np.int64)
        if not len(self.training):
            raise ValueError(f"{source.name}: no training query has a judged text")
        self.source = source
        self.candidates = candidates
        self.way = way
        most = max(len(source.relevant[q]) for q in self.training)
        #: Relevant texts of each training query and the cumulated chances to take them: by the square
        #: of the grade, as the encoders' training has it.
        self.relevant = np.zeros((len(self.training), most), dtype=np.int64)
        self.chances = np.full((len(self.training), most), 2.0)
        lists = candidates.words if way == "words" else candidates.fused
        self.others = np.full((len(self.training), among), -1, dtype=np.int64)
        for i, query in enumerate(self.training):
            judged = source.relevant[query]
            weights = np.cumsum(np.fromiter(judged.values(), dtype=float) ** 2)
            self.relevant[i, : len(judged)] = list(judged)
            self.chances[i, : len(judged)] = weights / weights[-1]
            self.chances[i, len(judged) - 1] = 1.0
            found = [d for d in lists[query].tolist() if d >= 0 and d not in judged][:among]
            self.others[i, : len(found)] = found

    def answers(self, count: int, generator: np.random.Generator) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
        """Rows of training queries, without repetition where there are enough, and a relevant text of each."""
        rows = generator.choice(len(self.training), size=count, replace=count > len(self.training))
        place = (self.chances[rows] < generator.random(count)[:, None]).sum(1)
        return rows, self.relevant[rows, place]

    def negatives(self, rows: NDArray[np.int64], count: int, random_share: float, generator: np.random.Generator) -> NDArray[np.int64]:
        """[queries, count]: of the best others at random; filled up from the whole collection."""
        others = self.others[rows]
        order = np.argsort(np.where(others >= 0, generator.random(others.shape), 2.0), axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(others, order, axis=1)
        found = np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=-1)
        if self.way == "random":
            found = np.where(generator.random(found.shape) < random_share, -1, found)
        for i, j in zip(*np.nonzero(found < 0)):
            judged = self.source.relevant[self.training[rows[i]]]
            while found[i, j] < 0:
                other = int(generator.integers(len(self.source.texts)))
                # A collection may be smaller than its own judgments.
                if other not in judged or len(judged) >= len(self.source.texts):
                    found[i, j] = other
        return found

    def draw(self, count: int, negatives: int, random_share: float, first: np.random.Generator, second: np.random.Generator) -> Drawn:
        rows, answers = self.answers(count, first)
        others = self.negatives(rows, negatives, random_share, second)
        texts = np.concatenate([answers[:, None], others], axis=1)
        queries = self.training[rows]
        same = self.candidates.fused[queries][:, None, :] == texts[:, :, None]
        teacher = (same * self.candidates.scores[queries][:, None, :]).max(2)
        return Drawn(queries, texts, teacher.astype(np.float32))


def draw_all(
    pools: Dict[str, Pool],
    shares: Dict[str, float],
    steps: int,
    count: int,
    negatives: int,
    random_share: float,
    seed: int,
    stage: int = 0,
) -> "tuple[List[str], List[Drawn]]":
    """A source and a batch for every step."""
    first = np.random.default_rng([seed, stage, 0])
    second = np.random.default_rng([seed, stage, 1])
    names = list(shares)
    chances = np.array([shares[name] for name in names])
    order = [names[i] for i in first.choice(len(names), size=steps, p=chances / chances.sum())]
    return order, [pools[name].draw(count, negatives, random_share, first, second) for name in order]
