"""What a pooling costs: milliseconds a query and passages a second, in ONNX Runtime, fp32.

The forms take turns, and the fastest round of each counts: what is left then is the work
itself and not what else the machine was doing. The arithmetic poolings cost what the mean does.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Dict

import numpy as np
import onnxruntime
import torch

from . import graph
from .export import arrays
from .model import Bert
from .pooling import make

TIMED = ["mean", "latent_attention", "multi_layer"]


def speed(base: Path, reports: Path, rounds: int = 20, threads: int = 2) -> Dict[str, Dict[str, float]]:
    bert = Bert.read(base)
    generator = np.random.default_rng(0)
    inputs = {}
    for name, shape in (("query", (1, 16)), ("passages", (16, 128))):
        ids = generator.integers(1000, bert.shape.vocabulary, size=shape)
        inputs[name] = {"input_ids": ids, "attention_mask": np.ones_like(ids), "pooling_mask": np.ones_like(ids)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in TIMED:
            torch.manual_seed(0)
            pooling = make(name, bert.shape.hidden, bert.shape.layers + 1)
            path = Path(temporary) / f"{name}.onnx"
            graph.save(graph.fused(name, arrays(bert), bert.shape, arrays(pooling)), path)
            sessions[name] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    best: Dict[str, Dict[str, float]] = {name: {"query": np.inf, "passages": np.inf} for name in TIMED}
    for _ in range(rounds):
        for name, session in sessions.items():
            for kind, feed in inputs.items():
                started = time.perf_counter()
                session.run(["vectors"], feed)
                best[name][kind] = min(best[name][kind], time.perf_counter() - started)
    found = {
        name: {"ms_per_query": round(1e3 * t["query"], 3), "passages_per_second": round(16 / t["passages"], 1)}
        for name, t in best.items()
    }
    reports.mkdir(parents=True, exist_ok=True)
    about = {"threads": threads, "query_tokens": 16, "passage_tokens": 128, "precision": "fp32", "poolings": found}
    (reports / "encoders-speed.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for name, row in found.items():
        print(f"{name}: {row['ms_per_query']} ms a query of 16 tokens, {row['passages_per_second']} passages of 128 tokens a second")
    return found
