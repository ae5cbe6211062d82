"""Collections to train, to choose and to report on.

A `Source` holds texts, queries and which texts answer which query. Training sources are cut by
query: a fifth, chosen by a hash and so always the same, is held out, and everything is
chosen on it. Evaluation collections are read by `evaluation` alone and only report.

The folder of collections is the one GLEANER_BENCH_DATA names (docs/quality.md).
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import json
import lzma
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from .place import Missing


@dataclass
class Source:
    """Texts, queries, and for each query the texts that answer it with their grade (above 0)."""

    name: str
    texts: List[str]
    queries: List[str]
    relevant: List[Dict[int, float]]
    #: Held-out queries, by position in `queries`; never trained on.
    held_out: List[int] = field(default_factory=list)
    #: As stated where the texts come from.
    licence: str = ""

    @property
    def training(self) -> List[int]:
        left = set(self.held_out)
        return [i for i in range(len(self.queries)) if i not in left]


def is_held_out(source: str, key: str) -> bool:
    """True for a fifth of all keys, the same ones in every run."""
    return hashlib.sha256(f"{source}\n{key}".encode()).digest()[0] % 5 == 0


def joined(title: str, text: str) -> str:
    """A document as the service encodes it: its fields, a line each, without empty ones."""
    return "\n".join(part for part in (title.strip(), text.strip()) if part)


def read_beir(folder: Path, split: str) -> Tuple[List[Tuple[str, str]], List[str], List[str], List[Dict[int, float]]]:
    """Documents as (title, text), query ids, queries, judgments above 0 by document position."""
    documents: List[Tuple[str, str]] = []
    position: Dict[str, int] = {}
    with open(folder / "corpus.jsonl", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            position[row["_id"]] = len(documents)
            documents.append((row.get("title") or "", row.get("text") or ""))
    texts: Dict[str, str] = {}
    with open(folder / "queries.jsonl", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts[row["_id"]] = row["text"]
    judged: Dict[str, Dict[int, float]] = {}
    with open(folder / "qrels" / f"{split}.tsv", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            query, document, grade = line.split("\t")
            if float(grade) > 0:
                judged.setdefault(query, {})[position[document]] = float(grade)
    ids = list(judged)
    return documents, ids, [texts[i] for i in ids], [judged[i] for i in ids]


def scifact(data: Path) -> Source:
    """SciFact's training claims; one without a stated licence."""
    documents, ids, queries, relevant = read_beir(data / "retrieval" / "scifact", "train")
    held_out = [i for i, name in enumerate(ids) if is_held_out("scifact", name)]
    return Source("scifact", [joined(*d) for d in documents], queries, relevant, held_out, "none stated")


def nfcorpus(data: Path) -> Source:
    """NFCorpus's training queries with their grades 1 to 3."""
    documents, ids, queries, relevant = read_beir(data / "retrieval" / "nfcorpus", "train")
    held_out = [i for i, name in enumerate(ids) if is_held_out("nfcorpus", name)]
    return Source("nfcorpus", [joined(*d) for d in documents], queries, relevant, held_out, "none stated")


def medquad(data: Path) -> Source:
    """Questions and answers; held out by what they are about, so that no subject is on both sides."""
    texts: List[str] = []
    position: Dict[str, int] = {}
    relevant: Dict[str, Dict[int, float]] = {}
    subject: Dict[str, str] = {}
    with gzip.open(data / "retrieval" / "medquad" / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            question, answer = " ".join(row["question"].split()), " ".join(row["answer"].split())
            if len(answer.split()) < 8:
                continue
            if answer not in position:
                position[answer] = len(texts)
                texts.append(answer)
            relevant.setdefault(question, {})[position[answer]] = 1.0
            subject.setdefault(question, (row.get("focus") or question).lower())
    queries = list(relevant)
    held_out = [i for i, q in enumerate(queries) if is_held_out("medquad", subject[q])]
    return Source("medquad", texts, queries, [relevant[q] for q in queries], held_out, "CC BY 4.0")


def medquad_kinds(data: Path) -> Tuple[List[str], List[str]]:
    """Training questions of MedQuAD and their kind (symptoms, treatment, ...), for the second stage."""
    questions: Dict[str, str] = {}
    with gzip.open(data / "retrieval" / "medquad" / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            question = " ".join(row["question"].split())
            subject = (row.get("focus") or question).lower()
            if row.get("type") and not is_held_out("medquad", subject):
                questions.setdefault(question, row["type"])
    return list(questions), list(questions.values())


def titles_of_scifact(data: Path) -> Source:
    """Titles as queries for the abstracts they stand over."""
    documents, _, _, _ = read_beir(data / "retrieval" / "scifact", "train")
    pairs = [(title.strip(), text.strip()) for title, text in documents if title.strip() and text.strip()]
    return _pairs("scifact-titles", pairs, "none stated")


def sentences_of_scifact(data: Path) -> Source:
    """What an abstract concludes as a query for the rest of it: the last or the last but one of its
    sentences, which read like the claims and share fewer words with the rest than titles do."""
    documents, _, _, _ = read_beir(data / "retrieval" / "scifact", "train")
    pairs = []
    for title, text in documents:
        sentences = re.split(r"(?<=[a-z)][.!?])\s+(?=[A-Z])", text.strip())
        for place in (-1, -2):
            if len(sentences) < 4:
                break
            words = sentences[place].split()
            if 6 <= len(words) <= 32:
                rest = [s for i, s in enumerate(sentences) if i != len(sentences) + place]
                pairs.append((_without_heading(sentences[place]), joined(title, " ".join(rest))))
                break
    return _pairs("scifact-sentences", pairs, "none stated")


def _without_heading(sentence: str) -> str:
    """Without the heading that structured abstracts put before their parts."""
    return re.sub(r"^(?:[A-Z]{4,}[A-Z /&]*[:.]?\s+)+(?=[A-Z])", "", sentence)


def titles_of_nfcorpus(data: Path) -> Source:
    """NFCorpus keeps no titles apart: each text is title, "pubmed ncbi abstract", abstract."""
    documents, _, _, _ = read_beir(data / "retrieval" / "nfcorpus", "train")
    pairs = []
    for _, text in documents:
        title, mark, rest = text.partition(" pubmed ncbi ")
        rest = rest.removeprefix("abstract ")
        if mark and 3 <= len(title.split()) <= 40 and len(rest.split()) >= 20:
            pairs.append((title.strip(), rest.strip()))
    return _pairs("nfcorpus-titles", pairs, "none stated")


#: Installed with the training environment at pinned versions, so that the pairs are the same everywhere.
DOCUMENTED = ["scipy", "numpy", "sympy", "torch"]
#: Never trained on: shows while choosing what training does to texts unlike its own.
UNTOUCHED = ["networkx"]


def docstrings(data: Path) -> Source:
    """First sentence of a function's documentation as a query for the rest of it: numerical and
    technical English, where all else here is medicine. Held out by module."""
    return _documentation("docstrings", DOCUMENTED)


def graph_docstrings(data: Path) -> Source:
    """The same from a package that nothing is trained on: all of it is held out."""
    source = _documentation("graph-docstrings", UNTOUCHED)
    source.held_out = list(range(len(source.queries)))
    return source


def _documentation(name: str, packages: List[str]) -> Source:
    pairs: List[Tuple[str, str]] = []
    keys: List[str] = []
    seen = set()
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise Missing(f"{package} is not installed: its documentation is a source (make training-env)")
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root).as_posix()
            if "test" in inside or "_vendor" in inside:
                continue
            for pair in _documented(path):
                if pair[0] not in seen:
                    seen.add(pair[0])
                    pairs.append(pair)
                    keys.append(path.relative_to(root.parent).as_posix())
    source = _pairs(name, pairs, "BSD-3-Clause")
    source.held_out = [i for i, key in enumerate(keys) if is_held_out(name, key)]
    return source


def _documented(path: Path) -> List[Tuple[str, str]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            continue
        text = ast.get_docstring(node) or ""
        summary, _, rest = text.partition("\n\n")
        summary = " ".join(summary.split())
        # Examples and references are code and names; what is said in words comes before.
        rest = re.split(r"(?:^|\n)(?:Examples?|References|See Also)\s*\n\s*[-=]{3,}", rest)[0]
        rest = " ".join(re.sub(r"[-=]{4,}|:\w+:|`", " ", rest).split())
        if 5 <= len(summary.split()) <= 40 and len(rest.split()) >= 25 and ">>>" not in summary:
            found.append((summary, rest[:2000]))
    return found


def _pairs(name: str, pairs: List[Tuple[str, str]], licence: str) -> Source:
    texts: List[str] = []
    position: Dict[str, int] = {}
    relevant: Dict[str, Dict[int, float]] = {}
    for query, text in pairs:
        if text not in position:
            position[text] = len(texts)
            texts.append(text)
        relevant.setdefault(query, {})[position[text]] = 1.0
    queries = list(relevant)
    held_out = [i for i, q in enumerate(queries) if is_held_out(name, q)]
    return Source(name, texts, queries, [relevant[q] for q in queries], held_out, licence)


SOURCES: Dict[str, Callable[[Path], Source]] = {
    "scifact": scifact,
    "nfcorpus": nfcorpus,
    "medquad": medquad,
    "scifact-titles": titles_of_scifact,
    "scifact-sentences": sentences_of_scifact,
    "nfcorpus-titles": titles_of_nfcorpus,
    "docstrings": docstrings,
    "graph-docstrings": graph_docstrings,
}


def read(data: Path, name: str, limit: Optional[int] = None) -> Source:
    """The source of that name; with `limit`, no more training queries than that, chosen by a
    hash, and only the texts that some query needs."""
    if name not in SOURCES:
        raise ValueError(f"no source is called {name}; there are {', '.join(SOURCES)}")
    packed = data / "sources" / f"{name}.json.xz"
    source = unpacked(packed) if packed.is_file() else SOURCES[name](data)
    if limit is None or len(source.training) <= limit:
        return source

    def order(query: int) -> bytes:
        return hashlib.sha256(source.queries[query].encode()).digest()

    kept = sorted(source.training, key=order)[:limit]
    kept += sorted(source.held_out, key=order)[: limit // 4]
    texts = sorted({text for query in kept for text in source.relevant[query]})
    position = {text: i for i, text in enumerate(texts)}
    left = set(source.held_out)
    return Source(
        name,
        [source.texts[t] for t in texts],
        [source.queries[q] for q in kept],
        [{position[t]: grade for t, grade in source.relevant[q].items()} for q in kept],
        [i for i, q in enumerate(kept) if q in left],
        source.licence,
    )


def unpacked(path: Path) -> Source:
    """A source or collection as bundle.py wrote it."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        content = json.load(file)
    relevant = [{int(text): grade for text, grade in judged.items()} for judged in content.pop("relevant")]
    return Source(relevant=relevant, **content)


#: What only reports: collection and split.
EVALUATION = {"scifact": "test", "nfcorpus": "dev", "cranfield": "test", "cacm": "test"}


def evaluation(data: Path, name: str) -> Source:
    """A collection to report on. Nothing is trained on it and nothing chosen by it."""
    packed = data / "evaluation" / f"{name}.json.xz"
    if packed.is_file():
        return unpacked(packed)
    documents, _, queries, relevant = read_beir(data / "retrieval" / name, EVALUATION[name])
    return Source(name, [joined(*d) for d in documents], queries, relevant)
