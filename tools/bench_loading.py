#!/usr/bin/env python3
"""Loads a collection into this project and into its peers, and asks both: what `make bench-loading` runs.

    bench_loading.py [--engines gleaner,lancedb,chroma,milvus-lite] [--collection retrieval/scifact --split test]
                     [--rounds 1] [--markdown docs/benchmarks.md]

Every engine gets the same documents and the same encoder (the same graph, the same number of threads), one
engine at a time, each in a process of its own: from nothing to the first answer, then one client's queries one
after the other, each encoded and answered from words and vectors where the engine has both. The peers are
installed once, pinned in benches/peers/requirements-search.txt. Writes reports/loading.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder, write_atomically  # noqa: E402
from clients import serve  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

PEERS = PROJECT / "benches" / "peers"
REQUIREMENTS = PEERS / "requirements-search.txt"
VENV_BYTES = 2_000_000_000
OURS = "gleaner"
ENGINES = (OURS, "lancedb", "chroma", "milvus-lite")
MODEL = "gleaner-minilm"
K, THREADS = 10, 2
BEGIN, END = "<!-- loading:begin -->", "<!-- loading:end -->"


def rows(path: Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Collection:
    """Documents, queries and judgments, in the BEIR layout."""

    def __init__(self, folder: Path, split: str) -> None:
        self.documents = rows(folder / "corpus.jsonl")
        self.judged: Dict[str, Dict[str, int]] = {}
        lines = (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        for query, document, grade in (line.split("\t") for line in lines):
            self.judged.setdefault(query, {})[document] = int(grade)
        self.queries = [one for one in rows(folder / "queries.jsonl") if one["_id"] in self.judged]

    def write(self, folder: Path) -> Tuple[Path, Path]:
        """For the peers, whose text is one."""
        corpus, queries = folder / "corpus.jsonl", folder / "queries.jsonl"
        texts = [{"id": d["_id"], "text": "\n".join(t for t in (d.get("title"), d["text"]) if t)} for d in self.documents]
        corpus.write_text("".join(json.dumps(one) + "\n" for one in texts), encoding="utf-8")
        asked = [{"id": one["_id"], "text": one["text"]} for one in self.queries]
        queries.write_text("".join(json.dumps(one) + "\n" for one in asked), encoding="utf-8")
        return corpus, queries


def ours(program: Path, collection: Collection, folder: Path) -> Dict[str, Any]:
    data, corpus, definition = folder / "data", folder / "ours.jsonl", folder / "index.toml"
    documents = ({"id": d["_id"], "title": d.get("title", ""), "text": d["text"]} for d in collection.documents)
    corpus.write_text("".join(json.dumps(one) + "\n" for one in documents), encoding="utf-8")
    text = (PROJECT / "indexes" / "beir.toml").read_text(encoding="utf-8")
    definition.write_text(re.sub(r"^name = .*$", 'name = "documents"', text, count=1, flags=re.MULTILINE), encoding="utf-8")
    run([str(program), "index", "create", str(definition), "--data", str(data)])
    began = time.monotonic()
    command = [str(program), "ingest", "documents", str(corpus), "--data", str(data), "--quiet", "--json"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode != 0:
        raise SetupError(f"loading ended with status {process.returncode}; its message is above")
    server, url = serve(program, folder)
    try:
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        milliseconds, found = [], {}
        ask(connection, collection.queries[0]["text"])
        began = time.monotonic()
        for one in collection.queries:
            before = time.monotonic()
            found[one["_id"]] = ask(connection, one["text"])
            milliseconds.append(1000 * (time.monotonic() - before))
        asked = time.monotonic() - began
    finally:
        server.terminate()
        server.wait()
    disk = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    return {
        "words": True, "load_s": seconds, "tokens": summary["tokens"], "queries_per_s": len(found) / asked,
        "milliseconds": milliseconds, "found": found, "disk_bytes": disk, "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def ask(connection: http.client.HTTPConnection, query: str) -> List[str]:
    body = json.dumps({"query": query, "k": K, "fields": []})
    connection.request("POST", "/v1/indexes/documents/search", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SetupError(f"a search was answered {answer.status}: {text[:300].decode('utf-8', 'replace')}")
    return [hit["id"] for hit in json.loads(text)["hits"]]


def run(command: List[str]) -> None:
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode != 0:
        raise SetupError(f"`{' '.join(command)}` failed; its message is above")


def peer(python: Path, name: str, model: Path, collection: Collection, folder: Path) -> Dict[str, Any]:
    corpus, queries = collection.write(folder)
    place, spec = folder / "place", folder / "spec.json"
    place.mkdir()
    asked = {"folder": str(place), "model": str(model), "corpus": str(corpus), "queries": str(queries), "k": K, "threads": THREADS}
    spec.write_text(json.dumps(asked), encoding="utf-8")
    command = [str(python), str(PEERS / "loading.py"), name, str(spec)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"{name} ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout.strip().splitlines()[-1])


def quality(python: Path, collection: Collection, found: Dict[str, List[str]]) -> float:
    """nDCG@10, by trec_eval."""
    scored = {query: {document: 1.0 / (1 + rank) for rank, document in enumerate(ids)} for query, ids in found.items()}
    program = (
        "import json, sys, pytrec_eval; judged, run = json.load(sys.stdin); "
        "values = pytrec_eval.RelevanceEvaluator(judged, {'ndcg_cut.10'}).evaluate(run).values(); "
        "print(sum(one['ndcg_cut_10'] for one in values) / len(judged))"
    )
    done = subprocess.run(
        [str(python), "-c", program], input=json.dumps([collection.judged, scored]), stdout=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode != 0:
        raise SetupError("the measure could not be taken; the message is above")
    return float(done.stdout)


def measured(python: Path, collection: Collection, reports: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The fastest round of each; other work on the machine only ever adds time."""
    fastest = min(reports, key=lambda one: one["load_s"])
    asked = max(reports, key=lambda one: one["queries_per_s"])
    times = sorted(asked["milliseconds"])
    return {
        "words": fastest["words"],
        "documents_per_s": len(collection.documents) / fastest["load_s"],
        "tokens_per_s": fastest["tokens"] / fastest["load_s"],
        "encoding_share": fastest["encoding_s"] / fastest["load_s"] if "encoding_s" in fastest else None,
        "queries_per_s": asked["queries_per_s"],
        "p50_ms": statistics.median(times),
        "p99_ms": times[min(len(times) - 1, int(0.99 * len(times)))],
        "ndcg@10": quality(python, collection, fastest["found"]),
        "disk_mb": fastest["disk_bytes"] / 1e6,
        "peak_memory_mb": fastest["peak_memory_bytes"] / 1e6,
    }


def table(found: Dict[str, Any]) -> List[str]:
    lines = [
        "| engine | asks | documents/s | tokens/s | queries/s | p50 ms | p99 ms | nDCG@10 | disk MB | peak MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        if "absent" in one:
            lines.append(f"| {name} | - | - | - | - | - | - | - | - | - |")
            continue
        asks = "words and vectors" if one["words"] else "vectors"
        lines.append(
            f"| {name} | {asks} | {one['documents_per_s']:,.0f} | {one['tokens_per_s']:,.0f} | {one['queries_per_s']:,.0f} | {one['p50_ms']:.1f} "
            f"| {one['p99_ms']:.1f} | {one['ndcg@10']:.4f} | {one['disk_mb']:,.0f} | {one['peak_memory_mb']:,.0f} |"
        )
    lines += [f"\n- {name}: {one['absent']}" for name, one in found.items() if "absent" in one]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_loading.py", description=__doc__.split("\n")[0])
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--collection", default="retrieval/scifact")
    parser.add_argument("--split", default="test")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="file whose table is replaced")
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return 0
    collection = Collection(data / options.collection, options.split)
    root = cache_folder(os.environ)
    python = ensure_environment("peers", root / "search-peers", REQUIREMENTS, VENV_BYTES)
    names = options.engines.split(",")
    reports: Dict[str, List[Dict[str, Any]]] = {name: [] for name in names}
    absent: Dict[str, str] = {}
    for turn in range(options.rounds):
        for name in names:
            if name in absent:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    if name == OURS:
                        report = ours(installed(PROGRAM), collection, Path(folder))
                    else:
                        report = peer(python, name, root / "models" / MODEL, collection, Path(folder))
                except SetupError as error:
                    absent[name] = str(error)
                    continue
            reports[name].append(report)
            say(name, f"round {turn}: loaded in {report['load_s']:.1f} s, {report['queries_per_s']:.0f} queries a second")
    found = {n: {"absent": absent[n]} if n in absent else measured(python, collection, reports[n]) for n in names}
    lines = table(found)
    print("\n".join(lines))
    (PROJECT / "reports").mkdir(exist_ok=True)
    whole = {"collection": options.collection, "documents": len(collection.documents), "queries": len(collection.queries), "peers": found}
    write_atomically(PROJECT / "reports" / "loading.json", json.dumps(whole, indent=2) + "\n")
    if options.markdown:
        text = options.markdown.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        write_atomically(options.markdown, f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        fail(error)
