"""Asks a peer from several threads at once, in a process of its own: `serving.py ENGINE SPEC.json`.

SPEC: as loading.py's, with `concurrency` (a list of numbers of threads) and `seconds` (of each). The queries'
vectors are ready before anything is asked: what is measured is the engine alone, without HTTP. Prints one JSON
object: for each number of threads the answers a second and the milliseconds at the median and at the 99th percentile.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path
from typing import List

from loading import BATCH, Encoder, rows
from searchers import ENGINES


def main() -> None:
    name, spec = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    documents, queries = rows(spec["corpus"]), rows(spec["queries"])
    encoder = Encoder(Path(spec["model"]), spec["threads"])
    engine = ENGINES[name](Path(spec["folder"]))
    for start in range(0, len(documents), BATCH):
        part = documents[start : start + BATCH]
        texts = [one["text"] for one in part]
        engine.add([one["id"] for one in part], texts, encoder.encode(texts))
    engine.finish()
    vectors = [encoder.encode([one["text"]])[0] for one in queries]
    asked = [(one["text"], vector) for one, vector in zip(queries, vectors)]
    engine.search(*asked[0], spec["k"])
    found = []
    for threads in spec["concurrency"]:
        turn = itertools.count()
        taken: List[float] = []
        until = time.monotonic() + spec["seconds"]

        def ask() -> None:
            while time.monotonic() < until:
                text, vector = asked[next(turn) % len(asked)]
                before = time.monotonic()
                engine.search(text, vector, spec["k"])
                taken.append(1000 * (time.monotonic() - before))

        began = time.monotonic()
        workers = [threading.Thread(target=ask) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.monotonic() - began
        taken.sort()
        found.append({
            "concurrency": threads,
            "queries_per_s": len(taken) / seconds,
            "p50_ms": taken[len(taken) // 2],
            "p99_ms": taken[min(len(taken) - 1, int(0.99 * len(taken)))],
        })
    print(json.dumps({"words": engine.words, "found": found}))


if __name__ == "__main__":
    main()
