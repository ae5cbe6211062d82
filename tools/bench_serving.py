#!/usr/bin/env python3
"""Searches a second by the number of callers: what `make bench-search` and `make soak` run.

    bench_serving.py load [--engines gleaner,lancedb,chroma] [--seconds 10] [--markdown docs/benchmarks.md]
    bench_serving.py soak [--minutes 30]

`load`: SciFact's abstracts and test claims. wrk asks the server over HTTP, from 1 to 256 connections: hybrid
searches as callers send them (the server encodes), and the same with their vectors ready. Beside it LanceDB and
Chroma, with the same documents and vectors, asked inside their own processes. The load tool and all engines share the machine's
cores. Writes reports/serving.json.

`soak`: hybrid searches and writes at once, for so many minutes, with caches that are full within the first of them; the
server's memory every ten seconds. Fails where it grows by more than a twentieth from the second third to the last. Writes reports/soak.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_loading import MODEL, PEERS, REQUIREMENTS, VENV_BYTES, Collection, run  # noqa: E402
from cache import cache_folder, write_atomically  # noqa: E402
from clients import serve  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

K, THREADS = 10, 2
#: The usual ones fill for hours at the soak's pace, which would hide what grows for other reasons.
SMALL_CACHES = "[storage]\nblock_cache_bytes = 8388608\nwrite_buffer_bytes = 4194304\n"
CONCURRENCY = [1, 2, 4, 8, 16, 32, 64, 128, 256]
PEERS_AT = [1, 2, 8, 32]
BEGIN, END = "<!-- serving:begin -->", "<!-- serving:end -->"
#: What wrk runs: bodies one after the other, and answers counted by status.
SCRIPT = """
local bodies, threads = {}, {}
for line in io.lines(os.getenv("GLEANER_BODIES")) do bodies[#bodies + 1] = line end
local number = 0
function setup(thread) thread:set("number", #threads) table.insert(threads, thread) end
function init(args) n = number * 37 s200 = 0 s429 = 0 s503 = 0 other = 0 end
function request()
  n = n + 1
  return wrk.format("POST", nil, {["content-type"] = "application/json"}, bodies[n % #bodies + 1])
end
function response(status)
  if status == 200 then s200 = s200 + 1 elseif status == 429 then s429 = s429 + 1
  elseif status == 503 then s503 = s503 + 1 else other = other + 1 end
end
function done(summary, latency)
  local sum = {s200 = 0, s429 = 0, s503 = 0, other = 0}
  for _, thread in ipairs(threads) do
    for name in pairs(sum) do sum[name] = sum[name] + thread:get(name) end
  end
  local e = summary.errors
  io.write(string.format('RESULT {"ok": %d, "s429": %d, "s503": %d, "other": %d, "broken": %d, "us": %d, "p50": %d, "p99": %d}\\n',
    sum.s200, sum.s429, sum.s503, sum.other, e.connect + e.read + e.write + e.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


def loaded(program: Path, collection: Collection, folder: Path) -> None:
    """An index of the collection in `folder`/data."""
    corpus, definition = folder / "ours.jsonl", folder / "index.toml"
    documents = ({"id": d["_id"], "title": d.get("title", ""), "text": d["text"]} for d in collection.documents)
    corpus.write_text("".join(json.dumps(one) + "\n" for one in documents), encoding="utf-8")
    text = (PROJECT / "indexes" / "beir.toml").read_text(encoding="utf-8")
    definition.write_text(re.sub(r"^name = .*$", 'name = "documents"', text, count=1, flags=re.MULTILINE), encoding="utf-8")
    data = ["--data", str(folder / "data")]
    run([str(program), "index", "create", str(definition)] + data)
    run([str(program), "ingest", "documents", str(corpus), "--quiet", "--json"] + data)


def post(url: str, path: str, body: Any) -> Dict[str, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise SetupError(f"{path} was answered {answer.status}: {text[:300].decode('utf-8', 'replace')}")
    return json.loads(text)


def wrk(url: str, bodies: Path, connections: int, seconds: float) -> Dict[str, Any]:
    tool = shutil.which("wrk")
    if tool is None:
        raise SetupError("wrk is not installed (Debian's package wrk)")
    script = bodies.with_suffix(".lua")
    script.write_text(SCRIPT, encoding="utf-8")
    command = [tool, "--threads", str(min(THREADS, connections)), "--connections", str(connections)]
    command += ["--duration", f"{int(seconds)}s", "--timeout", "60s", "--script", str(script)]
    command += [f"{url}/v1/indexes/documents/search"]
    environment = {**os.environ, "GLEANER_BODIES": str(bodies)}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, flags=re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise SetupError(f"wrk ended with status {done.returncode}: {done.stdout[-500:]}")
    result = json.loads(found.group(1))
    return {
        "concurrency": connections,
        "queries_per_s": result["ok"] / (result["us"] / 1e6),
        "p50_ms": result["p50"] / 1e3,
        "p99_ms": result["p99"] / 1e3,
        "refused": result["s429"] + result["s503"],
        "failed": result["other"] + result["broken"],
    }


def written(folder: Path, name: str, bodies: List[Dict[str, Any]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in bodies), encoding="utf-8")
    return path


def ours(program: Path, collection: Collection, folder: Path, seconds: float) -> Dict[str, Any]:
    loaded(program, collection, folder)
    server, url = serve(program, folder)
    try:
        texts = [one["text"] for one in collection.queries]
        asked = {"model": MODEL, "input": texts, "task": "query"}
        vectors = [one["embedding"] for one in post(url, "/v1/embeddings", asked)["data"]]
        plain = [{"query": text, "k": K, "fields": []} for text in texts]
        ready = [{**one, "vector": vector} for one, vector in zip(plain, vectors)]
        found: Dict[str, Any] = {}
        for name, bodies in (("encoding", plain), ("vectors ready", ready)):
            file = written(folder, f"{name.replace(' ', '-')}.txt", bodies)
            wrk(url, file, 4, 3)
            found[name] = []
            for connections in CONCURRENCY:
                one = wrk(url, file, connections, seconds)
                say("gleaner", f"{name}, {connections}: {one['queries_per_s']:.0f}/s, p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms, "
                    f"{one['refused']} refused, {one['failed']} failed")
                found[name].append(one)
        return found
    finally:
        server.terminate()
        server.wait()


def peer(python: Path, name: str, model: Path, collection: Collection, folder: Path, seconds: float) -> Dict[str, Any]:
    corpus, queries = collection.write(folder)
    place, spec = folder / "place", folder / "spec.json"
    place.mkdir()
    asked = {"folder": str(place), "model": str(model), "corpus": str(corpus), "queries": str(queries), "k": K}
    asked.update({"threads": THREADS, "concurrency": PEERS_AT, "seconds": seconds})
    spec.write_text(json.dumps(asked), encoding="utf-8")
    command = [str(python), str(PEERS / "serving.py"), name, str(spec)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"{name} ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(found: Dict[str, Any]) -> List[str]:
    lines = ["| engine | asked | callers | queries/s | p50 ms | p99 ms | refused | failed |", "|---|---|---|---|---|---|---|---|"]
    for name, one in found["gleaner"].items():
        for row in one:
            lines.append(
                f"| gleaner | over HTTP, {name} | {row['concurrency']} | {row['queries_per_s']:,.0f} | {row['p50_ms']:.1f} "
                f"| {row['p99_ms']:.1f} | {row['refused']} | {row['failed']} |"
            )
    for name, one in found.items():
        if name == "gleaner":
            continue
        how = "words and vectors" if one["words"] else "vectors alone"
        for row in one["found"]:
            lines.append(
                f"| {name} | in its process, vectors ready, {how} | {row['concurrency']} | {row['queries_per_s']:,.0f} "
                f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} | - | - |"
            )
    return lines


def load(options: argparse.Namespace, collection: Collection) -> None:
    program = installed(PROGRAM)
    found: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "models").mkdir()
        found["gleaner"] = ours(program, collection, Path(temporary), options.seconds)
    peers = [name for name in options.engines.split(",") if name != "gleaner"]
    if peers:
        python = ensure_environment("peers", cache_folder(os.environ) / "search-peers", REQUIREMENTS, VENV_BYTES)
        model = cache_folder(os.environ) / "models" / MODEL
        for name in peers:
            with tempfile.TemporaryDirectory() as temporary:
                found[name] = peer(python, name, model, collection, Path(temporary), options.seconds)
            say(name, ", ".join(f"{one['concurrency']}: {one['queries_per_s']:.0f}/s" for one in found[name]["found"]))
    lines = table(found)
    print("\n".join(lines))
    report = PROJECT / "reports" / "serving.json"
    report.parent.mkdir(exist_ok=True)
    write_atomically(report, json.dumps(found, indent=2) + "\n")
    if options.markdown is not None:
        page = options.markdown.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN, 1)
        text = "\n".join([before + BEGIN, *lines, END + rest.split(END, 1)[1]])
        write_atomically(options.markdown, text)
    failed = sum(row["failed"] for rows in found["gleaner"].values() for row in rows)
    if failed:
        raise SetupError(f"{failed} searches failed, or were answered something else than 200, 429 and 503")


def memory(pid: int) -> int:
    """Resident memory in bytes that is the process's own, files it maps left out."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def soak(options: argparse.Namespace, collection: Collection) -> None:
    program = installed(PROGRAM)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models").mkdir()
        (folder / "config.toml").write_text(SMALL_CACHES, encoding="utf-8")
        loaded(program, collection, folder)
        server, url = serve(program, folder)
        bodies = written(folder, "soak.txt", [{"query": one["text"], "k": K} for one in collection.queries])
        until = time.monotonic() + 60 * options.minutes
        counts = {"read": 0, "refused": 0, "failed": 0, "written": 0}

        def read() -> None:
            while time.monotonic() < until:
                one = wrk(url, bodies, 4, min(30.0, max(1.0, until - time.monotonic())))
                counts["read"] += int(one["queries_per_s"] * 30)
                counts["refused"] += one["refused"]
                counts["failed"] += one["failed"]

        def write() -> None:
            # The same documents over and over, a few of them deleted and written again.
            turn = 0
            while time.monotonic() < until:
                part = [collection.documents[(turn * 4 + n) % len(collection.documents)] for n in range(4)]
                lines = [{"put": {"id": d["_id"], "title": d.get("title", ""), "text": d["text"]}} for d in part]
                lines.insert(0, {"delete": part[0]["_id"]})
                try:
                    post(url, "/v1/indexes/documents/operations", lines)
                    counts["written"] += len(lines)
                except SetupError as error:
                    if " 503" not in str(error):
                        counts["failed"] += 1
                turn += 1
                time.sleep(0.25)

        workers = [threading.Thread(target=read), threading.Thread(target=write)]
        for worker in workers:
            worker.start()
        samples: List[Tuple[float, int]] = []
        began = time.monotonic()
        while time.monotonic() < until and server.poll() is None:
            time.sleep(10)
            samples.append((time.monotonic() - began, memory(server.pid)))
        for worker in workers:
            worker.join()
        server.terminate()
        server.wait()
    third = len(samples) // 3
    mean = [statistics.mean(size for _, size in part) / 1e6 for part in (samples[third : 2 * third], samples[2 * third :])]
    print(f"memory of {mean[0]:.0f} MB in the second third, {mean[1]:.0f} MB in the last; {counts}")
    report = PROJECT / "reports" / "soak.json"
    report.parent.mkdir(exist_ok=True)
    write_atomically(report, json.dumps({"samples": samples, "megabytes": mean, **counts}, indent=2) + "\n")
    if counts["failed"] or mean[1] > 1.05 * mean[0]:
        raise SetupError("memory grew, or requests failed")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_serving.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("load")
    one.add_argument("--engines", default="gleaner,lancedb,chroma")
    one.add_argument("--seconds", type=float, default=10)
    one.add_argument("--markdown", type=Path, help="file whose table is replaced")
    other = commands.add_parser("soak")
    other.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return
    try:
        collection = Collection(data / "retrieval" / "scifact", "test")
        load(options, collection) if options.command == "load" else soak(options, collection)
    except SetupError as error:
        fail(error)


if __name__ == "__main__":
    main()
