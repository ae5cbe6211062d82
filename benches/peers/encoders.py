"""What sentence-transformers does with the passages of `benches/embeddings.rs`.

    encoders.py PASSAGES.json THREADS ROUNDS

Encodes them with all-MiniLM-L6-v2 (GLEANER_PEER_MODEL names its folder) on PyTorch, and on the
ONNX backend with the graph that its own int8 quantisation makes, which is exported on first use
into GLEANER_PEER_ONNX. Prints {"side": passages a second} as its last line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BATCH = 32


def fastest(model, passages, rounds):
    model.encode(passages[:BATCH], batch_size=BATCH)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.encode(passages, batch_size=BATCH, normalize_embeddings=True)
        times.append(time.perf_counter() - started)
    return len(passages) / min(times)


def int8(source: Path, target: Path, threads: int):
    """The model with the int8 graph that sentence-transformers makes for this processor."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    kind = "avx512_vnni" if "avx512_vnni" in flags else "avx2"
    name = f"onnx/model_qint8_{kind}.onnx" if kind != "avx2" else "onnx/model_quint8_avx2.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not (target / name).is_file():
        model = SentenceTransformer(str(source), backend="onnx", device="cpu")
        model.save_pretrained(str(target))
        export_dynamic_quantized_onnx_model(model, kind, str(target))
    return SentenceTransformer(
        str(target),
        backend="onnx",
        device="cpu",
        model_kwargs={"file_name": name, "session_options": options},
    )


def main() -> None:
    passages = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    threads, rounds = int(sys.argv[2]), int(sys.argv[3])
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    source = Path(os.environ["GLEANER_PEER_MODEL"])
    sides = {}
    model = SentenceTransformer(str(source), device="cpu")
    sides["sentence-transformers torch"] = fastest(model, passages, rounds)
    model = int8(source, Path(os.environ["GLEANER_PEER_ONNX"]), threads)
    sides["sentence-transformers int8"] = fastest(model, passages, rounds)
    print(json.dumps(sides))


if __name__ == "__main__":
    main()
