"""How often the right name is found among given ones: on what is held out, and on an evaluation set.

The candidates of a mention and their prior are those that the table of link counts has for its words.
Weights of prior, similarity and generator are fitted on held-out mentions that the table knows, and
applied to both; on the held-out ones, each half with the other half's weights.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import torch

from encoders.export import LAYERS, expanded
from encoders.model import Bert
from encoders.place import PROJECT
from encoders.pooling import make
from encoders.texts import Tokens, encode

from .data import Mention, plain
from .inputs import Inputs
from .model import Generator
from .trainer import log_probabilities

EVALUATED = "aida-conll-dev"
#: Most candidates, characters on each side of a mention that make its context, least share.
CANDIDATES, CONTEXT, LEAST = 30, 300, -30.0
#: Added to a share, of which some are nothing.
RARE = 1e-4
FEATURES = ("prior", "similarity", "generator")
WAYS = {
    "prior": ("prior",),
    "similarity": ("similarity",),
    "generator": ("generator",),
    "prior and similarity": ("prior", "similarity"),
    "prior and generator": ("prior", "generator"),
    "all": FEATURES,
}


@dataclass
class Asked:
    mention: Mention
    #: As the table has them, with shares of the counts.
    names: List[str]
    shares: np.ndarray
    #: Of the right one, -1 where it is not there.
    right: int


def table(data: Path) -> Dict[str, Dict[str, float]]:
    found: Dict[str, Dict[str, float]] = {}
    with gzip.open(data / "entities" / "mention_candidates.tsv.gz", "rt", encoding="utf-8") as file:
        for line in file:
            mention, name, count = line.rstrip("\n").split("\t")
            found.setdefault(mention, {})[name] = float(count)
    return found


def asked(mention: Mention, gold: str, known: Dict[str, Dict[str, float]]) -> Asked | None:
    counts = known.get(mention.words.strip())
    if not counts:
        return None
    names = sorted(counts, key=lambda name: (-counts[name], name))[:CANDIDATES]
    shares = np.array([counts[name] for name in names])
    right = next((i for i, name in enumerate(names) if plain(name) == plain(gold)), -1)
    return Asked(mention, names, shares / max(shares.sum(), 1.0), right)


def evaluated(data: Path, known: Dict[str, Dict[str, float]], every: int = 1) -> tuple[List[Asked], int]:
    """Questions of the evaluation set, of every so many-th document, and how many linked mentions these have."""
    found, many = [], 0
    for line in (data / "entities" / "linking" / f"{EVALUATED}.jsonl").read_text(encoding="utf-8").splitlines()[::every]:
        document = json.loads(line)
        for label in document["labels"]:
            if label.get("coref") or label.get("optional") or not label["entity_id"].startswith("Q") or label["name"] == "Unknown":
                continue
            many += 1
            start, end = label["span"]
            one = asked(Mention(document["text"], start, end, label["name"], EVALUATED), label["name"], known)
            if one:
                found.append(one)
    return found, many


def similarities(rows: Sequence[Asked], base: Path) -> List[np.ndarray]:
    """Cosines of contexts and names by the encoder of the service."""
    model = Bert.read(base)
    layers = expanded(PROJECT / "models" / "gleaner-minilm" / LAYERS)
    model.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in layers.items()}, strict=False)
    tokens, pooling = Tokens(base), make("mean", model.shape.hidden, model.shape.layers)
    contexts = [r.mention.text[max(0, r.mention.start - CONTEXT) : r.mention.end + CONTEXT].strip() for r in rows]
    names = sorted({name for r in rows for name in r.names})
    vectors = encode(model, pooling, tokens.ids(contexts, 256))
    of_names = dict(zip(names, encode(model, pooling, tokens.ids(names, 64))))
    return [np.array([vectors[i] @ of_names[name] for name in r.names]) for i, r in enumerate(rows)]


def features(model: Generator, inputs: Inputs, rows: Sequence[Asked], base: Path) -> List[Dict[str, np.ndarray]]:
    generated = log_probabilities(model, inputs, [(r.mention, [plain(name) for name in r.names]) for r in rows])
    cosines = similarities(rows, base)
    found = []
    for row, scores, cosine in zip(rows, generated, cosines):
        share = scores - (scores.max() + np.log(np.exp(scores - scores.max()).sum()))
        found.append({"prior": np.log(row.shares + RARE), "similarity": cosine, "generator": np.maximum(share, LEAST)})
    return found


def fit(rows: Sequence[Asked], found: Sequence[Dict[str, np.ndarray]], way: Sequence[str]) -> Dict[str, float]:
    """Weights, none below 0, that make the right one likely among the candidates; documents count as
    much as sentences, of which there are more."""
    some = [(row, f) for row, f in zip(rows, found) if row.right >= 0]
    kinds = [row.mention.kind for row, _ in some]
    shares = torch.tensor([1 / kinds.count(kind) for kind in kinds], dtype=torch.float64)
    weights = torch.full((len(way),), 0.5, dtype=torch.float64, requires_grad=True)
    columns = [(torch.tensor(np.stack([f[name] for name in way], 1), dtype=torch.float64), row.right) for row, f in some]
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = [x @ weights.abs() for x, _ in columns]
        losses = [torch.logsumexp(row, 0) - row[right] for row, (_, right) in zip(logits, columns)]
        loss = (torch.stack(losses) * shares).sum() / shares.sum() + 1e-3 * (weights**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return {name: round(float(w), 4) for name, w in zip(way, weights.detach().abs())}


def right(rows: Sequence[Asked], found: Sequence[Dict[str, np.ndarray]], weights: Dict[str, float]) -> int:
    best = [int(np.argmax(sum(w * f[name] for name, w in weights.items()))) for f in found]
    return sum(b == row.right for b, row in zip(best, rows))


def measure(model: Generator, inputs: Inputs, held: Sequence[Mention], data: Path, base: Path, evaluate: int) -> Dict[str, object]:
    known = table(data)
    rows = [row for m in held if (row := asked(m, m.name, known)) and row.right >= 0]
    found = features(model, inputs, rows, base)
    half = [zlib.crc32(b"half" + row.mention.text.encode("utf-8")) % 2 for row in rows]
    report: Dict[str, object] = {"mentions": len(rows)}
    weights: Dict[str, Dict[str, float]] = {}
    for name, way in WAYS.items():
        correct = 0
        for part in (0, 1):
            own, other = ([i for i, h in enumerate(half) if (h == part) == same] for same in (True, False))
            fitted = fit([rows[i] for i in other], [found[i] for i in other], way)
            correct += right([rows[i] for i in own], [found[i] for i in own], fitted)
        weights[name] = fit(rows, found, way)
        report[name] = {"accuracy": round(correct / len(rows), 4), "weights": weights[name]}
    if evaluate:
        rows, many = evaluated(data, known, evaluate)
        found = features(model, inputs, rows, base)
        there = sum(row.right >= 0 for row in rows)
        report[EVALUATED] = {
            "mentions": many,
            "documents, one in": evaluate,
            "among candidates": round(there / many, 4),
            **{name: round(right(rows, found, w) / many, 4) for name, w in weights.items()},
        }
    return report
