#!/usr/bin/env python3
"""Pairs of texts as collections in the BEIR layout: what the default fusion is fitted on
beside SciFact's and NFCorpus' training splits.

medquad    questions against answers, from GLEANER_BENCH_DATA/retrieval/medquad
passages   a few sentences out of MedQuAD's answers against what is left of them (the inverse
           cloze task, Lee et al. 2019): questions as long as paragraphs
headings   the same questions against documents of which half are a heading alone (MedQuAD's
           question), the others a heading and the sentences before: few words to match
functions  first sentences of docstrings against functions of installed Python packages,
           without their docstrings
documented the same functions with the rest of their docstrings, where there is one
snippets   what people asked for against one-line snippets, GLEANER_BENCH_DATA/code/conala_train.json
answers    the same against functions around the snippets, with what was asked for in other
           words as their docstrings
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import re
import sys
import warnings
import zlib
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402

# Queries of each collection, and documents at most; both drawn by hash.
QUERIES = 800
DOCUMENTS = 2000
PACKAGES = ["click", "fsspec", "jinja2", "networkx", "numpy", "scipy", "sympy", "torch"]
# More of one package would be a collection of that package.
OF_ONE_PACKAGE = 400

Pair = Tuple[str, str]


def drawn(text: str) -> int:
    """A place in an order that has nothing to do with the text."""
    return zlib.crc32(text.encode("utf-8"))


def medquad(folder: Path) -> List[Pair]:
    pairs = []
    with gzip.open(str(folder / "retrieval" / "medquad" / "pairs.jsonl.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["question"] and row["answer"]:
                pairs.append((row["question"].strip(), row["answer"].strip()))
    return pairs


def passages(folder: Path) -> List[Pair]:
    pairs = []
    for _, answer in medquad(folder):
        sentences = re.split(r"(?<=[.!?])\s+", answer)
        count = 1 + drawn(answer) % 3
        if len(sentences) < count + 3:
            continue
        at = 1 + drawn("place of " + answer) % (len(sentences) - count - 1)
        asked = " ".join(sentences[at : at + count])
        rest = " ".join(sentences[:at] + sentences[at + count :])
        if 8 <= len(asked.split()) <= 80 and asked not in rest:
            pairs.append((asked, rest))
    return pairs


def headings(folder: Path) -> List[Pair]:
    pairs = []
    for heading, answer in medquad(folder):
        sentences = re.split(r"(?<=[.!?])\s+", answer)
        count = 2 + drawn("headings of " + answer) % 3
        if len(sentences) < count + 4:
            continue
        at = 3 + drawn("heading for " + answer) % (len(sentences) - count - 3)
        asked = " ".join(sentences[at : at + count])
        bare = drawn("bare " + heading) % 2 == 0
        if 15 <= len(asked.split()) <= 100:
            pairs.append((asked, heading if bare else heading + " " + " ".join(sentences[:3])))
    return pairs


def snippets(folder: Path) -> List[Pair]:
    rows = json.loads((folder / "code" / "conala_train.json").read_text(encoding="utf-8"))
    return [(row["intent"].strip(), row["snippet"].strip()) for row in rows if row["intent"] and row["snippet"]]


def answers(folder: Path) -> List[Pair]:
    rows = json.loads((folder / "code" / "conala_train.json").read_text(encoding="utf-8"))
    pairs = []
    for row in rows:
        asked, said = row["intent"], row["rewritten_intent"]
        # What was said in the same words would be found by them alone.
        if not asked or not said or not row["snippet"] or asked.strip().lower() == said.strip().lower():
            continue
        body = "\n".join("    " + line for line in row["snippet"].strip().splitlines())
        pairs.append((asked.strip(), f'def answer():\n    """{said.strip()}"""\n{body}'))
    return pairs


def first_sentence(docstring: str) -> Tuple[str, str]:
    paragraph, _, rest = docstring.strip().partition("\n\n")
    text = " ".join(paragraph.split())
    match = re.match(r"(.+?[.!?])(\s|$)", text)
    if match and match.end() < len(text):
        return match.group(1), text[match.end() :] + "\n\n" + rest
    return text, rest


def functions_of(source: str) -> Iterator[Tuple[str, str, str]]:
    """First sentence, rest of the docstring, function without docstring."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        docstring = ast.get_docstring(node)
        if not docstring or len(node.body) < 2:
            continue
        sentence, rest = first_sentence(docstring)
        doc = node.body[0]
        body = lines[node.lineno - 1 : doc.lineno - 1] + lines[doc.end_lineno : node.end_lineno]
        if 4 <= len(sentence.split()) <= 30 and sentence.isascii() and 2 <= len(body) <= 60:
            yield sentence, rest.strip(), "\n".join(body)


def functions(packages: Path, documented: bool) -> List[Pair]:
    pairs: List[Pair] = []
    for package in PACKAGES:
        own: List[Pair] = []
        for file in sorted((packages / package).rglob("*.py")):
            if "test" in file.as_posix():
                continue
            try:
                found = list(functions_of(file.read_text(encoding="utf-8")))
            except (SyntaxError, UnicodeDecodeError, RecursionError, ValueError):
                continue
            for sentence, rest, body in found:
                if documented and not 20 <= len(rest) <= 1500:
                    continue
                head, _, tail = body.partition("\n")
                text = f'{head}\n    """{rest}"""\n{tail}' if documented else body
                own.append((sentence, text))
        own.sort(key=lambda pair: drawn("\n".join(pair)))
        pairs += own[:OF_ONE_PACKAGE]
    return pairs


def write(folder: Path, pairs: List[Pair]) -> None:
    """Answers that several questions share are one document; questions that are asked of
    several answers have them all."""
    pairs = sorted(set(pairs), key=lambda pair: (drawn(pair[1]), pair[1], pair[0]))
    documents: Dict[str, str] = {}
    queries: Dict[str, Dict[str, None]] = {}
    for question, answer in pairs:
        if answer not in documents and len(documents) == DOCUMENTS:
            continue
        key = documents.setdefault(answer, f"d{len(documents)}")
        queries.setdefault(question, {})[key] = None
    chosen = sorted(queries, key=lambda question: (drawn(question), question))[:QUERIES]
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = ({"_id": key, "title": "", "text": text} for text, key in documents.items())
    asked = [{"_id": f"q{drawn(question):08x}-{i}", "text": question} for i, question in enumerate(chosen)]
    write_lines(folder / "corpus.jsonl", list(corpus))
    write_lines(folder / "queries.jsonl", asked)
    rows = ["query-id\tcorpus-id\tscore"]
    rows += [f"{query['_id']}\t{key}\t1" for query in asked for key in queries[query["text"]]]
    write_atomically(folder / "qrels" / "train.tsv", "\n".join(rows) + "\n")
    print(f"{folder.name}: {len(documents)} documents, {len(chosen)} queries")


def write_lines(path: Path, rows: List[dict]) -> None:
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def site_packages(environment: Path) -> Optional[Path]:
    found = sorted(environment.glob("lib/python3*/site-packages"))
    return found[0] if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="what GLEANER_BENCH_DATA names")
    parser.add_argument("--packages", type=Path, required=True, help="virtual environment with Python packages")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    packages = site_packages(options.packages)
    if packages is None:
        parser.error(f"{options.packages} is no virtual environment; `make training-env` makes one")
    write(options.out / "medquad", medquad(options.data))
    write(options.out / "passages", passages(options.data))
    write(options.out / "headings", headings(options.data))
    write(options.out / "snippets", snippets(options.data))
    write(options.out / "answers", answers(options.data))
    write(options.out / "functions", functions(packages, documented=False))
    write(options.out / "documented", functions(packages, documented=True))


if __name__ == "__main__":
    main()
