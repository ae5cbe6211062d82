"""Measuring an encoder: on what was held out, to choose by; on the evaluation sets, to report.

Every run over an evaluation set is written to reports/, with each query's value, so that any
two rows can be compared by a paired test later.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from torch import Tensor

from . import place
from .data import EVALUATION, Source, evaluation, read
from .model import Bert
from .pooling import Pooling
from .significance import measures, paired
from .texts import Tokens, encode

#: Held-out queries to choose by, and how many texts they are searched among: the answers, and
#: others drawn from the rest of the source. (source, queries, texts)
VALIDATION = [
    ("scifact", 164, 1200),
    ("nfcorpus", 120, 1500),
    ("medquad", 200, 600),
    ("graph-docstrings", 250, 600),
]
#: Of those, what training never touched.
UNTOUCHED = ["graph-docstrings"]


@dataclass
class Held:
    """Held-out queries over a part of their source's texts."""

    name: str
    texts: List[str]
    queries: List[str]
    relevant: List[Dict[int, float]]


def held_out(data: Path, scale: float = 1.0) -> List[Held]:
    """What choices are made on. `scale` below 1 takes a part of it, for runs that only try."""
    return [
        subset(read(data, name), max(8, int(queries * scale)), max(50, int(texts * scale)))
        for name, queries, texts in VALIDATION
    ]


def subset(source: Source, queries: int, texts: int, seed: int = 0) -> Held:
    """Some held-out queries, their answers, and other texts up to that many."""
    generator = np.random.default_rng(seed)
    chosen = list(source.held_out)
    if len(chosen) > queries:
        chosen = sorted(int(i) for i in generator.choice(chosen, size=queries, replace=False))
    kept = {text for query in chosen for text in source.relevant[query]}
    rest = [text for text in range(len(source.texts)) if text not in kept]
    others = generator.permutation(rest)[: max(0, texts - len(kept))]
    order = sorted(kept | {int(text) for text in others})
    position = {text: i for i, text in enumerate(order)}
    return Held(
        source.name,
        [source.texts[text] for text in order],
        [source.queries[query] for query in chosen],
        [{position[text]: grade for text, grade in source.relevant[query].items()} for query in chosen],
    )


def measure(
    model: Bert, pooling: Pooling, tokens: Tokens, held: Held | Source, max_tokens: int, precision: str = "fp32"
) -> Dict[str, np.ndarray]:
    """nDCG@10 and recall@100 of every query."""
    documents = encode(model, pooling, tokens.ids(held.texts, max_tokens), precision=precision)
    queries = encode(model, pooling, tokens.ids(held.queries, max_tokens), precision=precision)
    return measures(queries, documents, held.relevant)


def mixed(before: Dict[str, Tensor], after: Dict[str, Tensor], share: float) -> Dict[str, Tensor]:
    """WiSE-FT (Wortsman et al. 2022): `share` of the trained weights, the rest from before."""
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


def means(values: Dict[str, np.ndarray]) -> Dict[str, float]:
    return {name: round(float(v.mean()), 5) for name, v in values.items()}


def report(
    name: str,
    model: Bert,
    pooling: Pooling,
    tokens: Tokens,
    data: Path,
    reports: Path,
    max_tokens: int,
    about: Optional[Dict[str, object]] = None,
    precision: str = "fp32",
    collections: Sequence[str] = tuple(EVALUATION),
) -> Dict[str, Dict[str, np.ndarray]]:
    """Runs the evaluation sets and writes reports/encoders/NAME.json. Nothing is chosen here."""
    found: Dict[str, Dict[str, np.ndarray]] = {}
    started = time.monotonic()
    for collection in collections:
        found[collection] = measure(model, pooling, tokens, evaluation(data, collection), max_tokens, precision)
        line = "  ".join(f"{key} {value:.4f}" for key, value in means(found[collection]).items())
        print(f"{name}  {collection} ({EVALUATION[collection]})  {line}", flush=True)
    write(name, found, reports, {**(about or {}), "precision": precision, "max_tokens": max_tokens, "seconds": round(time.monotonic() - started, 1)})
    return found


def write(
    name: str, found: Dict[str, Dict[str, np.ndarray]], reports: Path, about: Dict[str, object]
) -> None:
    folder = reports / "encoders"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "name": name,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **about,
        "splits": EVALUATION,
        "means": {collection: means(values) for collection, values in found.items()},
        "queries": {
            collection: {key: [round(float(v), 6) for v in value] for key, value in values.items()}
            for collection, values in found.items()
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    # One line a run: the record of what was ever measured on the evaluation sets, kept in the repository.
    kept = place.MEASURED if reports == place.REPORTS else folder
    kept.mkdir(parents=True, exist_ok=True)
    with open(kept / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({key: content[key] for key in ("when", "name", "means")}) + "\n")


def report_files(pattern: str, reports: Path) -> List[Path]:
    """Reports whose names match, of this machine and of those that the repository keeps; of two
    with one name this machine's."""
    folders = (place.MEASURED, reports / "encoders")
    found = {path.name: path for folder in folders for path in folder.glob(f"{pattern}.json")}
    return [found[name] for name in sorted(found)]


def read_report(name: str, reports: Path) -> Dict[str, Dict[str, np.ndarray]]:
    content = json.loads((reports / "encoders" / f"{name}.json").read_text(encoding="utf-8"))
    return {c: {k: np.array(v) for k, v in values.items()} for c, values in content["queries"].items()}


def against(
    ours: Dict[str, Dict[str, np.ndarray]], theirs: Dict[str, Dict[str, np.ndarray]], key: str = "ndcg@10"
) -> Dict[str, Dict[str, float]]:
    """Difference and p of every collection."""
    return {
        collection: {
            "difference": float((values[key] - theirs[collection][key]).mean()),
            "p": paired(values[key], theirs[collection][key]),
        }
        for collection, values in ours.items()
    }
