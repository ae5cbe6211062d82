"""Everything that a run reads, in one small folder: for a machine that has a GPU and nothing else.

    FOLDER/sources/NAME.json.xz      training sources, held-out queries marked
    FOLDER/evaluation/NAME.json.xz   evaluation collections
    FOLDER/base/                     configuration, tokenizer and weights of the base, in f16; rows
                                     of words that no text has are zeros, so that they weigh nothing
    FOLDER/base/model.safetensors.xz

There, `unpack` makes of it what GLEANER_BENCH_DATA and GLEANER_CACHE are to name. Sources
that are read out of installed packages stay what they were where the folder was written.
"""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Dict, Iterable

import numpy as np
from safetensors.numpy import load_file, save_file

from .data import EVALUATION, SOURCES, Source, evaluation, read
from .texts import Tokens

WEIGHTS = "model.safetensors"
WORDS = "embeddings.word_embeddings.weight"


def write(folder: Path, data: Path, base: Path, sources: Iterable[str] = tuple(SOURCES)) -> None:
    tokens = Tokens(base)
    used: set[int] = set()
    for kind, names, get in (("sources", sources, read), ("evaluation", EVALUATION, evaluation)):
        for name in names:
            source = get(data, name)
            for part in (source.texts, source.queries):
                for row in tokens.ids(part, 512):
                    used.update(row.tolist())
            pack(source, folder / kind / f"{name}.json.xz")
            print(f"{kind}/{name}: {len(source.texts)} texts, {len(source.queries)} queries", flush=True)
    (folder / "base").mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        if path.is_file() and path.name not in (WEIGHTS, "data_config.json"):
            shutil.copyfile(path, folder / "base" / path.name)
    weights = {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in load_file(base / WEIGHTS).items()}
    for name, value in weights.items():
        if name.endswith(WORDS):
            unused = np.ones(len(value), dtype=bool)
            unused[sorted(used | set(range(1000)))] = False
            value[unused] = 0
    plain = folder / "base" / WEIGHTS
    save_file(weights, plain, metadata={"format": "pt"})
    with lzma.open(plain.with_suffix(".safetensors.xz"), "wb", preset=6) as out:
        out.write(plain.read_bytes())
    plain.unlink()


def pack(source: Source, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Dict[str, object] = {
        "name": source.name,
        "licence": source.licence,
        "texts": source.texts,
        "queries": source.queries,
        "relevant": [{str(text): grade for text, grade in judged.items()} for judged in source.relevant],
        "held_out": source.held_out,
    }
    with lzma.open(path, "wt", encoding="utf-8", preset=6) as out:
        json.dump(content, out)


def unpack(folder: Path, cache: Path) -> None:
    """Puts the base where `place.base` looks for it under `cache`."""
    target = cache / "sources" / "all-MiniLM-L6-v2"
    shutil.copytree(folder / "base", target, dirs_exist_ok=True)
    packed = target / f"{WEIGHTS}.xz"
    (target / WEIGHTS).write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
