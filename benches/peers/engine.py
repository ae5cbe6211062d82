#!/usr/bin/env python3
"""One engine in a process of its own: `engine.py NAME` answers requests on standard input.

# The protocol
One JSON object a line in, one a line out; {"error": "..."} says what went wrong and the
process goes on. Every engine of the benchmark speaks it, this project's own too.

- {"op":"hello"} -> {"engine","version","settings"}; the only request an engine may refuse
- {"op":"build","data":DIR,"threads":2} -> {"seconds"}: reading the data does not count
- {"op":"save","path":P} -> {"bytes"}: what has to lie on the disk to open it, sparse
  files by what they take up
- {"op":"open","path":P,"data":DIR} -> {"seconds"}; of DIR only the queries are kept
- {"op":"search","ef":64,"k":10,"threads":1,"rounds":1,"limit":null,"filter":null,
  "strategy":null,"out":PATH} -> {"seconds","queries"}: asks the first `limit` queries of
  the file (all: null), `rounds` times over. `queries` is how many were asked in all.
  `filter` names a file of one byte, 0 or 1, per point. `out` receives the ids of the last
  round: u32, queries x k, 0xffffffff where nothing was found.
- {"op":"quit"}

# What counts as search time
What the library does with queries that lie ready in the form it wants, in its largest
batches: turning them into that form and its answers into ids is outside, which is
kinder to the peers than their users' programs can be.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent))

import data  # noqa: E402
import numpy as np  # noqa: E402
from peer import Peer, Search  # noqa: E402

# Each library is imported only in the process that measures it.
WHERE: Mapping[str, str] = {
    "exact": "graphs:Exact",
    "hnswlib": "graphs:Hnswlib",
    "faiss-flat": "graphs:FaissFlat",
    "faiss-sq8": "graphs:FaissSq8",
    "usearch-f16": "graphs:UsearchF16",
    "usearch-i8": "graphs:UsearchI8",
    "svs-f16": "graphs:SvsF16",
    "svs-lvq8": "graphs:SvsLvq8",
    "svs-lvq4x8": "graphs:SvsLvq4x8",
    "qdrant": "databases:Qdrant",
    "lancedb": "databases:Lancedb",
}


class Session:
    """The state behind the requests: one peer, and the queries it is asked."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.queries: Optional[np.ndarray] = None

    def answer(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        handlers: Dict[str, Callable[[Mapping[str, Any]], Dict[str, Any]]] = {
            "hello": self.hello,
            "build": self.build,
            "save": self.save,
            "open": self.open,
            "search": self.search,
        }
        handler = handlers.get(str(request.get("op")))
        if handler is None:
            raise ValueError(f"no operation {request.get('op')!r}")
        return handler(request)

    def hello(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        # The first product makes numpy allocate what it keeps; that is not the index's.
        ones = np.ones((64, 64), dtype=np.float32)
        float((ones @ ones).sum())
        return {"engine": self.peer.name, "version": self.peer.version, "settings": self.peer.settings}

    def build(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        dataset = data.load(Path(request["data"]))
        self.queries = dataset.queries()
        seconds = self.peer.build(dataset.base(), int(request["threads"]))
        _give_memory_back()
        return {"seconds": seconds}

    def save(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        path = Path(request["path"])
        path.mkdir(parents=True, exist_ok=True)
        self.peer.save(path)
        return {"bytes": _bytes_under(path)}

    def open(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        dataset = data.load(Path(request["data"]))
        self.queries = dataset.queries()
        started = time.perf_counter()
        self.peer.open(Path(request["path"]), dataset.dimensions, dataset.count)
        seconds = time.perf_counter() - started
        _give_memory_back()
        return {"seconds": seconds}

    def search(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        if self.queries is None:
            raise ValueError("search before build or open")
        queries = self.queries[: request.get("limit")]
        passing = np.fromfile(request["filter"], dtype=np.uint8) if request.get("filter") else None
        rounds = int(request.get("rounds", 1))
        asked = Search(queries, int(request["k"]), int(request["ef"]), int(request["threads"]), passing)
        run, decode = self.peer.plan(asked)
        answer: Any = None
        started = time.perf_counter()
        for _ in range(rounds):
            answer = run()
        seconds = time.perf_counter() - started
        decode(answer).astype("<u4").tofile(request["out"])
        return {"seconds": seconds, "queries": rounds * len(queries)}


def _give_memory_back() -> None:
    """What was freed goes back to the system, so that only what is held is measured."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _bytes_under(folder: Path) -> int:
    """Sparse files count for what they take up; small ones for what they hold."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(min(file.st_size, file.st_blocks * 512) for file in found)


def _message(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"


def _peer(name: str) -> Peer:
    module, _, kind = WHERE[name].partition(":")
    return getattr(importlib.import_module(module), kind)()  # type: ignore[no-any-return]


def _serve(name: str, answers: TextIO) -> None:
    session: Optional[Session] = None
    trouble = ""
    try:
        session = Session(_peer(name))
    except Exception as error:  # an import can fail in any way; the caller is told at its first request
        trouble = _message(error)
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("op") == "quit":
            return
        try:
            answer = session.answer(request) if session else {"error": trouble}
        except Exception as error:  # a peer's error is a result of the measurement
            answer = {"error": _message(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in WHERE:
        sys.exit(f"usage: engine.py {{{','.join(WHERE)}}}")
    # Libraries print too: their words go to standard error, where no answer is expected.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.argv[1], answers)


if __name__ == "__main__":
    main()
