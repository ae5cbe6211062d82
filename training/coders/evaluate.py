"""CoSQA dev: queries as people ask them, over Python functions. It only reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np

from .measures import angles, measure
from .model import GraphCoder
from .states import Encoder, Graphs, Kept, keep, keep_texts, read_graphs, trimmed
from .trainer import vectors


@dataclass
class Evaluation:
    graphs: Graphs
    kept: Kept
    queries: np.ndarray
    texts: List[str]
    right: np.ndarray


def write(folder: Path, to: Path) -> None:
    """The functions as `gleaner code features` reads them."""
    with to.open("w", encoding="utf-8") as lines:
        for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            lines.write(json.dumps({"id": one["_id"], "language": "python", "code": one["text"]}) + "\n")


def read(folder: Path, features: Path, encoder: Encoder, states: Path, nodes: int) -> Evaluation:
    graphs = read_graphs(features)
    graphs, kept = trimmed(graphs, keep(encoder, graphs, states), nodes)
    place = {one: number for number, one in enumerate(graphs.ids)}
    texts = {}
    for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        texts[one["_id"]] = one["text"]
    judged = sorted((folder / "qrels").glob("*.tsv"))
    asked: List[str] = []
    right: List[int] = []
    for line in judged[0].read_text(encoding="utf-8").splitlines()[1:]:
        query, code, _ = line.split("\t")
        asked.append(texts[query])
        right.append(place[code])
    queries = keep_texts(encoder, asked, states)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return Evaluation(graphs, kept, queries, asked, np.array(right))


def report(evaluation: Evaluation, model: Optional[GraphCoder]) -> Dict[str, float]:
    """Of a model, or of the encoder as it is."""
    if model is None:
        code = evaluation.kept.embeddings / np.linalg.norm(evaluation.kept.embeddings, axis=1, keepdims=True)
    else:
        code = vectors(model, evaluation.kept, evaluation.graphs, np.arange(len(evaluation.graphs)))
    found = {**measure(evaluation.queries, code, evaluation.right), **angles(evaluation.queries, code, evaluation.right)}
    return {name: round(value, 4) for name, value in found.items()}
