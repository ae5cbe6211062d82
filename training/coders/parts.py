"""What of a Python function its questions find: the whole of it, or parts, by the encoder as it is.

Over CoSQA dev, to say why a network that weighs parts has little to give there; nothing is chosen by it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np

from .measures import measure
from .states import Encoder

DOCUMENTED = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
PARAGRAPH = re.compile(r"\n\s*\n|\n\s*(?:@|:param|:return|:type|Args|Parameters|Returns|-{3,})")


def documentation(code: str) -> str:
    found = DOCUMENTED.search(code)
    return (found.group(1) or found.group(2) or "").strip() if found else ""


def paragraph(code: str) -> str:
    """The first of the documentation."""
    return PARAGRAPH.split(documentation(code), maxsplit=1)[0]


PARTS: Dict[str, Callable[[str], str]] = {
    "whole": lambda code: code,
    "signature and first paragraph": lambda code: f"{code.splitlines()[0]}\n{paragraph(code)}",
    "without documentation": lambda code: DOCUMENTED.sub("", code, count=1),
    "documentation": lambda code: documentation(code) or code.splitlines()[0],
    "first paragraph": lambda code: paragraph(code) or code.splitlines()[0],
}


def embeddings(encoder: Encoder, texts: List[str], most: int) -> np.ndarray:
    found = np.stack([states.mean(axis=0) for states in encoder.states(encoder.ids(texts, most))])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def judged(folder: Path) -> Tuple[List[str], List[str], np.ndarray]:
    """Functions, questions, and the place of each question's function."""
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    place = {row["_id"]: number for number, row in enumerate(rows)}
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = {row["_id"]: row["text"] for row in asked}
    lines = sorted((folder / "qrels").glob("*.tsv"))[0].read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split("\t")[:2] for line in lines]
    return [row["text"] for row in rows], [texts[query] for query, _ in pairs], np.array([place[code] for _, code in pairs])


def report(encoder: Encoder, folder: Path, most: int) -> None:
    functions, questions, right = judged(folder)
    asked = embeddings(encoder, questions, 64)
    print("| part | MRR | recall@10 |\n|---|---|---|")
    for name, part in PARTS.items():
        found = measure(asked, embeddings(encoder, [part(one) for one in functions], most), right)
        print(f"| {name} | {found['mrr']:.4f} | {found['recall@10']:.4f} |", flush=True)
