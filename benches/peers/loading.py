"""Loads a collection into a peer and asks it, in a process of its own: `loading.py ENGINE SPEC.json`.

SPEC: `folder` (empty), `model` (a text encoder's folder), `corpus` and `queries` (JSON lines of `id`, `text`),
`k`, `threads`. Prints one JSON object: seconds of encoding and of all, rates, the largest resident memory, bytes
on disk, milliseconds of each query, and ids found.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import onnxruntime
from searchers import DIMENSIONS, ENGINES
from tokenizers import Tokenizer

#: Documents that are handed over at once, and tokens that are encoded at once.
BATCH, BUDGET = 512, 4096


class Encoder:
    """The same graph as this project runs, over texts sorted by length."""

    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.no_padding()
        self.tokens = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.array(one.ids, dtype=np.int64) for one in self.tokenizer.encode_batch(list(texts))]
        self.tokens += sum(len(row) for row in rows)
        found = np.empty((len(rows), DIMENSIONS), np.float32)
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        start = 0
        while start < len(order):
            most = max(1, BUDGET // len(rows[order[start]]))
            places = order[start : start + most]
            start += most
            longest = len(rows[places[0]])
            ids = np.zeros((len(places), longest), dtype=np.int64)
            mask = np.zeros_like(ids)
            for n, place in enumerate(places):
                ids[n, : len(rows[place])] = rows[place]
                mask[n, : len(rows[place])] = 1
            (states,) = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            means = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
            found[places] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return found


def rows(path: str) -> List[Dict[str, str]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def main() -> None:
    name, spec = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    documents, queries = rows(spec["corpus"]), rows(spec["queries"])
    encoder = Encoder(Path(spec["model"]), spec["threads"])
    began = time.monotonic()
    engine = ENGINES[name](Path(spec["folder"]))
    encoding = 0.0
    for start in range(0, len(documents), BATCH):
        part = documents[start : start + BATCH]
        texts = [one["text"] for one in part]
        before = time.monotonic()
        vectors = encoder.encode(texts)
        encoding += time.monotonic() - before
        engine.add([one["id"] for one in part], texts, vectors)
    engine.finish()
    # Loaded is what answers.
    engine.search(queries[0]["text"], encoder.encode([queries[0]["text"]])[0], spec["k"])
    seconds = time.monotonic() - began
    tokens = encoder.tokens
    found, milliseconds = {}, []
    asked = time.monotonic()
    for one in queries:
        before = time.monotonic()
        found[one["id"]] = engine.search(one["text"], encoder.encode([one["text"]])[0], spec["k"])
        milliseconds.append(1000 * (time.monotonic() - before))
    asked = time.monotonic() - asked
    disk = sum(path.stat().st_size for path in Path(spec["folder"]).rglob("*") if path.is_file())
    report = {
        "words": engine.words, "encoding_s": encoding, "load_s": seconds, "tokens": tokens,
        "queries_per_s": len(queries) / asked, "milliseconds": milliseconds, "found": found, "disk_bytes": disk,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
