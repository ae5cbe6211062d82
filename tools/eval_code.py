#!/usr/bin/env python3
"""Code search through the service: what `make eval-code` runs.

Writes the functions of CoSQA as files, loads the folder as `gleaner ingest --code` loads any other,
serves it, and asks the development queries over HTTP: by words, by vectors, and by both. Writes
reports/eval-code.json.

With `--collection` it does so with another folder in the same shape, and with `--weights` it asks by both
legs with several weights: that is how what `indexes/code.toml` says was chosen, on what `python -m coders
collection` writes. `--conala` takes 700 of CoNaLa's training questions, over all of its lines of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Set

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from clients import serve  # noqa: E402
from console import SetupError, duration, fail  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

MODES = {"words": "lexical", "vectors": "dense", "both": "hybrid"}
#: Hits that are looked through; a function may be several.
DEPTH = 100


def rows(path: Path) -> List[Dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ask(url: str, query: str, way: Dict[str, Any]) -> List[str]:
    """Names of the functions' files, the best first."""
    body = {"query": query, "k": DEPTH, "fields": ["path"], **way}
    request = urllib.request.Request(
        f"{url}/v1/indexes/functions/search", json.dumps(body).encode("utf-8"), {"content-type": "application/json"}
    )
    for patience in range(10):
        try:
            with urllib.request.urlopen(request) as answer:
                hits = json.load(answer)["hits"]
            break
        except urllib.error.HTTPError as refused:
            # A busy machine: as long as the answer says.
            if refused.code != 503 or patience == 9:
                raise
            time.sleep(float(refused.headers.get("retry-after", 1)))
    return list(dict.fromkeys(hit["document"]["path"].split(".")[0] for hit in hits))


def measured(ranks: List[int]) -> Dict[str, float]:
    """Of places from 1, 0 where it was not found."""
    return {
        "mrr": sum(1 / rank for rank in ranks if rank) / len(ranks),
        "recall@10": sum(1 <= rank <= 10 for rank in ranks) / len(ranks),
    }


def conala(source: Path, folder: Path, count: int = 700) -> Path:
    """CoNaLa's questions as people asked them, as a collection: the same ones every time."""
    chosen = random.Random(1)
    seen: Set[str] = set()
    corpus, questions = [], []
    for number, one in enumerate(json.loads(source.read_text(encoding="utf-8"))):
        code = one["snippet"].strip()
        if code and code not in seen:
            seen.add(code)
            corpus.append({"_id": f"c{number}", "text": code})
            questions.append((number, one["intent"]))
    chosen.shuffle(questions)
    queries = [{"_id": f"q{number}", "text": question} for number, question in questions[:count]]
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "qrels").mkdir()
    judged = "".join(f"{query['_id']}\tc{query['_id'][1:]}\t1\n" for query in queries)
    (folder / "qrels" / "dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    return folder


def ways(weights: List[float]) -> Dict[str, Dict[str, Any]]:
    """What is asked, by what it is called."""
    found: Dict[str, Dict[str, Any]] = {name: {"mode": mode} for name, mode in MODES.items()}
    if weights:
        found["learned"] = {"mode": "hybrid", "fusion": {"method": "learned"}}
    for weight in weights:
        fusion = {"method": "minmax", "lexical": weight, "dense": round(1 - weight, 3)}
        found[f"words at {weight:g}"] = {"mode": "hybrid", "fusion": fusion}
    return found


def evaluate(program: Path, collection: Path, split: str, definition: Path, weights: List[float]) -> Dict[str, Any]:
    report: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = folder / "functions"
        code.mkdir()
        own = folder / "index.toml"
        text = definition.read_text(encoding="utf-8")
        own.write_text(re.sub(r'^name = .*$', 'name = "functions"', text, count=1, flags=re.MULTILINE), encoding="utf-8")
        for row in rows(collection / "corpus.jsonl"):
            (code / f"{row['_id']}.py").write_text(row["text"] + "\n", encoding="utf-8")
        started = time.monotonic()
        for command in (["index", "create", str(own)], ["ingest", "functions", "--code", str(code), "--quiet"]):
            command = [str(program), *command, "--data", str(folder / "data")]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
            if done.returncode != 0:
                raise SetupError(f"`{' '.join(command)}` ended with status {done.returncode}; its message is above")
        print(f"{done.stdout.strip()}\nloaded in {duration(time.monotonic() - started)}")
        queries = {row["_id"]: row["text"] for row in rows(collection / "queries.jsonl")}
        judged = (collection / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        right = {query: answer for query, answer, _ in (line.split("\t") for line in judged)}
        process, url = serve(program, folder)
        try:
            for name, way in ways(weights).items():
                found = [ask(url, queries[query], way) for query in right]
                places = zip(found, right.values())
                report[name] = measured([hits.index(one) + 1 if one in hits else 0 for hits, one in places])
        finally:
            process.terminate()
            process.wait()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--collection", type=Path, help="instead of CoSQA")
    parser.add_argument("--conala", action="store_true", help="CoNaLa's training questions, instead of CoSQA")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--index", type=Path, default=PROJECT / "indexes" / "code.toml")
    parser.add_argument("--weights", type=float, nargs="*", default=[], help="of the words, to ask by both legs with")
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return 0
    program = options.binary or installed(PROGRAM)
    with tempfile.TemporaryDirectory() as name:
        collection = options.collection or data / "code" / "cosqa"
        if options.conala:
            collection = conala(data / "code" / "conala_train.json", Path(name))
        report = evaluate(program, collection, options.split, options.index, options.weights)
    print("| | MRR | recall@10 |\n|---|---|---|")
    for name, found in report.items():
        print(f"| {name} | {found['mrr']:.4f} | {found['recall@10']:.4f} |")
    if options.collection or options.conala:
        return 0
    reports = PROJECT / "reports"
    reports.mkdir(exist_ok=True)
    write_atomically(reports / "eval-code.json", json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        fail(error)
